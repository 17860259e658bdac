#!/bin/sh
# as the official image of MongoDB does it: started as root, the data folder is given to the server's user, who then runs it
set -eu
[ "$1" = mongod ] || exec "$@"
find /data/db ! -user mongodb -exec chown mongodb {} +
exec setpriv --reuid mongodb --regid mongodb --clear-groups "$@"
