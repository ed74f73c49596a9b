# shellcheck shell=bash
# Rust: the core, the command, the Rust driver of the conformance suite; and what holds for the whole workspace.

setup_rust() {
    need cargo "install Rust from https://rustup.rs"
    fresh cargo-fetch Cargo.lock || { cargo fetch --locked && remember cargo-fetch Cargo.lock; }
}

build_rust() {
    need cargo "install Rust from https://rustup.rs"
    cargo build --locked --workspace
}

# All but the engine's, which scripts/languages/engine.sh runs, and on two servers.
test_rust() {
    local file targets=(--lib --bins)
    for file in core/tests/*.rs; do
        [[ $file =~ /(engine|schema|model)\.rs$ ]] || targets+=(--test "$(basename "$file" .rs)")
    done
    cargo test --locked --package pgque "${targets[@]}" "$@"
    (($#)) || test_rest_of_rust
}

test_rest_of_rust() {
    cargo test --locked --package pgque --doc
    # Each connection string through this library and through libpq.
    .venv/bin/python tests/connection/run.py
    .venv/bin/python tests/connection/secrets.py rust
}

debian_rust() {
    command -v openssl >/dev/null || echo openssl
}

# The first programs in the README are the files that `pgque dev` prints.
generated_rust() { echo README.md; }
generate_rust() { scripts/quickstarts; }

lint_rust() {
    all_of "cargo fmt --all -- --check --color never" \
        "cargo clippy --locked --workspace --all-targets -- -D warnings"
}

versions_rust() {
    printf 'Cargo.toml\t%s\n' "$(workspace_version)"
    printf 'core/fuzz/Cargo.lock\t%s\n' "$(sed -n '/^name = "pgque"$/{n;s/.*"\(.*\)"/\1/p}' core/fuzz/Cargo.lock)"
    [[ ! -x $TARGET/debug/pgque ]] || printf 'built pgque\t%s\n' "$("$TARGET/debug/pgque" --version | awk '{print $2}')"
}

bump_rust() {
    sed -i '/^\[workspace.package\]/,/^\[/s/^version = ".*"/version = "'"$1"'"/' Cargo.toml
    cargo update --quiet --workspace --offline
    # A workspace of its own; not by cargo, for what only fuzzing needs may not be here.
    sed -i '/^name = "pgque"$/{n;s/".*"/"'"$1"'"/}' core/fuzz/Cargo.lock
}

package_rust() {
    portable_cargo build --release --locked --package pgque --bin pgque
    install -D "$(portable_target)/pgque" dist/bin/pgque
}

artefacts_rust() { echo bin/pgque; }

smoke_rust() { dist/bin/pgque --version; }
