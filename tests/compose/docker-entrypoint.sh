#!/bin/sh
# as the official images do it: started as root, the data folder is given to the server's user, who then runs it
set -eu
case $1 in
redis-server) user=redis folder=/data ;;
mongod) user=mongodb folder=/data/db ;;
*) exec "$@" ;;
esac
find "$folder" ! -user $user -exec chown $user {} +
exec setpriv --reuid $user --regid $user --clear-groups "$@"
