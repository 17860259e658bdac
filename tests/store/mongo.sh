#!/bin/bash
# mongo.sh [PRESET] [test filter...] - the store's conformance test on the MongoDB engine, against a server of its own.
# Afterwards the server is killed (SIGKILL) and started again on its file: what was acknowledged before must still be there.
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
preset=${1:-dev}
shift || true
work=$(mktemp -d)
server=

stop_server() {
    [ -z "$server" ] || kill -9 "$server" 2>/dev/null || true
    [ -z "$server" ] || wait "$server" 2>/dev/null || true
    server=
}
trap 'stop_server; rm -rf "$work"' EXIT

start_server() {
    : >"$work/out"
    "$top/tests/mongo/start" "$work/data" 0 >"$work/out" 2>"$work/err" &
    server=$!
    # Maven may have to fetch the jars first
    for _ in $(seq 1200); do
        port=$(sed -n 's/^listening //p' "$work/out")
        [ -z "$port" ] || return 0
        kill -0 "$server" 2>/dev/null || break
        sleep 0.1
    done
    cat "$work/err" >&2
    echo "mongo.sh: the test server did not start" >&2
    exit 1
}

start_server
export FE_LIB_DIR=$top/build/$preset/lib
export FE_TEST_STORE_URI=mongodb://127.0.0.1:$port
"$top/build/$preset/store_test" "$@"

[ $# = 0 ] || exit 0
FE_TEST_SERVER_STEP=write FE_TEST_DATABASE=kept FE_TEST_PLACE=$work "$top/build/$preset/store_test" store_server
stop_server
start_server
export FE_TEST_STORE_URI=mongodb://127.0.0.1:$port
FE_TEST_SERVER_STEP=check FE_TEST_DATABASE=kept FE_TEST_PLACE=$work "$top/build/$preset/store_test" store_server
stop_server
FE_TEST_SERVER_STEP=away FE_TEST_DATABASE=kept FE_TEST_PLACE=$work "$top/build/$preset/store_test" store_server
