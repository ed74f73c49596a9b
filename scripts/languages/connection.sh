# shellcheck shell=bash
# How every language connects: as libpq does, with the host that is left, and behind PgBouncer, with and without its help
# for prepared statements.

debian_connection() {
    command -v pgbouncer >/dev/null || [[ -x /usr/sbin/pgbouncer ]] || echo pgbouncer
    # To build a newer one.
    [[ -n $(newer_pooler) ]] || dpkg-query --show libevent-dev >/dev/null 2>&1 || echo libevent-dev
}

# Debian 12's own, 1.18, leaves prepared statements alone; from 1.21 on PgBouncer can look after them. Debian 13 has a
# newer one, whose source builds here.
NEWER_DEBIAN=trixie
newer_pooler() {
    local program
    for program in "$ROOT/.tools/pgbouncer/pgbouncer" pgbouncer /usr/sbin/pgbouncer; do
        "$program" --version 2>/dev/null | awk 'NR == 1 && $2 >= 1.21 { found = 1 } END { exit !found }' || continue
        echo "$program"
        return
    done
}

# Without it the tests say what they leave out.
setup_connection() {
    [[ -z $(newer_pooler) ]] || return 0
    build_newer_pooler || warn "there is no PgBouncer 1.21 or newer to be had: its prepared statements stay untested"
}

# In a shell of its own, so that its first failure ends it. Debian's own tools fetch the source and check its signature.
build_newer_pooler() {
    bash -euo pipefail -c '
        work=$(mktemp -d)
        trap "rm -rf \"$work\"" EXIT
        cd "$work"
        mkdir -p lists/partial
        site=$(apt-get indextargets --format "\$(REPO_URI)" "Created-By: Packages" "Origin: Debian" | head -1)
        echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $site $1 main" >sources.list
        apt=(apt-get -qq -o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=-
            -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work" -o APT::Sandbox::User=root)
        "${apt[@]}" update
        "${apt[@]}" source --download-only pgbouncer
        tar --extract --strip-components=1 --file pgbouncer_*.orig.tar.gz
        ./configure --quiet --without-cares --without-openssl --without-pam
        make --jobs="$(nproc)" pgbouncer
        install -D pgbouncer "$2/pgbouncer"
    ' build "$NEWER_DEBIAN" "$ROOT/.tools/pgbouncer"
}

behind_pooler() { .venv/bin/python tests/connection/pooler.py "$@"; }

# test_connection [--all]
test_connection() {
    local languages=(python node c go)
    # The whole table of connection strings is tried in Rust, by scripts/languages/rust.sh.
    .venv/bin/python tests/connection/run.py --languages "${languages[@]}" command
    .venv/bin/python tests/connection/failover.py rust "${languages[@]}"
    test_poolers "$@"
}

# test_poolers [--all] [ARG…]: the suite of what holds for all languages, in all of them; with prepared statements, of
# which only the core knows, in Rust, and in all with --all. The arguments go to the suite.
test_poolers() {
    local suite=(.venv/bin/python tests/conformance/run.py) all=(--together --jobs 3) knowing=(--language rust)
    if [[ ${1:-} == --all ]]; then
        shift
        knowing=("${all[@]}")
    fi
    (($#)) || behind_pooler .venv/bin/python tests/connection/polling.py
    # Few at a time of each language, for all languages run at the same time.
    behind_pooler "${suite[@]}" "${all[@]}" "$@"
    if [[ -n $(newer_pooler) ]]; then
        behind_pooler --prepared "${suite[@]}" "${knowing[@]}" "$@"
    else
        say "SKIPPED: a PgBouncer that looks after prepared statements, for there is none from 1.21 on"
    fi
}
