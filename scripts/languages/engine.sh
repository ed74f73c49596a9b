# shellcheck shell=bash
# The engine: the SQL in core/sql. The core carries it, so there is nothing to build; it is tested on a server.

debian_engine() {
    # Any server will do; `pgque dev` finds it on PATH or where Debian puts it.
    compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || command -v initdb >/dev/null || echo postgresql
    command -v psql >/dev/null || echo postgresql-client
}
