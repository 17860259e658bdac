#!/bin/bash
# copy.sh [PRESET] - fectl on an embedded store, its copy to a MongoDB-compatible server and back: nothing may be lost or change.
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
preset=${1:-dev}
fectl=$top/build/$preset/bin/fectl
work=$(mktemp -d)
server=
cleanup() {
    if [ -n "$server" ]; then
        kill -9 "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap cleanup EXIT

"$top/tests/mongo/start" "$work/data" 0 >"$work/out" 2>"$work/err" &
server=$!
for _ in $(seq 1200); do
    port=$(sed -n 's/^listening //p' "$work/out")
    [ -z "$port" ] || break
    kill -0 "$server" 2>/dev/null || break
    sleep 0.1
done
[ -n "$port" ] || { cat "$work/err" >&2; exit 1; }

export FE_LIB_DIR=$top/build/$preset/lib STORE_URI=embedded:$work/a.sqlite STORE_KEY_FILE=$work/key
HELPER_ENCRYPTION_KEY=$(openssl rand -hex 16)
export HELPER_ENCRYPTION_KEY
mongo=mongodb://127.0.0.1:$port/copied

$fectl user add Owner@Example.test --admin | grep -q '^api_token '
$fectl domain add example.test --user owner@example.test >"$work/records"
grep -q 'site-verification=..........$' "$work/records"
$fectl domain show example.test | cmp - "$work/records"
$fectl alias add jane@example.test --imap --recipient Jane@Else.test
$fectl alias add list@example.test --recipient a@x.test --recipient https://Hook.test/A
[ "$($fectl alias recipients jane@example.test)" = jane@else.test ]
$fectl alias recipients list@example.test b@x.test C@x.test
$fectl alias disable list@example.test --code 421
[ "$($fectl alias recipients list@example.test | tr '\n' ' ')" = "b@x.test c@x.test " ]
if $fectl alias recipients list@example.test none 2>/dev/null; then exit 1; fi
if $fectl alias add jane@example.test --imap 2>/dev/null; then exit 1; fi

$fectl store copy "$STORE_URI" "$mongo" | tail -1
if $fectl store copy "$STORE_URI" "$mongo" >/dev/null 2>&1; then echo "a second copy went through" >&2; exit 1; fi
$fectl store copy "$mongo" "embedded:$work/b.sqlite" --to-key-file "$work/key2" | tail -1
STORE_URI=embedded:$work/b.sqlite STORE_KEY_FILE=$work/key2 $fectl domain show example.test | cmp - "$work/records"
[ "$($fectl alias list example.test)" = "$(STORE_URI=$mongo $fectl alias list example.test)" ]
echo "copy.sh: ok"
