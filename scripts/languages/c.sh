# shellcheck shell=bash
# C: the shared and the static library, the generated header and list of symbols, the driver of the conformance suite.

CBINDGEN=0.29.4
ABI=$(sed -n 's/.*PGQUE_ABI_VERSION: u32 = \([0-9]*\);.*/\1/p' bindings-c/src/lib.rs)

debian_c() {
    command -v cc >/dev/null || echo gcc
    command -v c++ >/dev/null || echo g++
    command -v make >/dev/null || echo make
    command -v pkg-config >/dev/null || echo pkg-config
    command -v valgrind >/dev/null || echo valgrind
    pkg-config --exists jansson 2>/dev/null || echo libjansson-dev
    pkg-config --exists libpq 2>/dev/null || echo libpq-dev
}

setup_c() {
    # Unoptimised: it compiles in a quarter of the time, and reads our few files in a moment all the same.
    [[ $(.tools/bin/cbindgen --version 2>/dev/null) == "cbindgen $CBINDGEN" ]] ||
        cargo install --quiet --debug --locked --root .tools --version "$CBINDGEN" cbindgen
}

build_c() {
    need make "apt-get install make"
    cargo build --locked --package pgque-c
    # The name by which programs load it, and where pkg-config (the Go package, examples) finds this build.
    ln -sfn libpgque.so "$TARGET/debug/libpgque.so.$ABI"
    mkdir -p .tools/pkgconfig
    pkg_config_file | sed "s|^includedir=.*|includedir=$ROOT/bindings-c/include|; s|^libdir=.*|libdir=$TARGET/debug|;
        s|^Libs: .*|& -Wl,-rpath,$TARGET/debug|" >.tools/pkgconfig/libpgque.pc
    if [[ -d tests/drivers/c ]]; then make --directory tests/drivers/c TARGET="$TARGET/debug"; fi
}

test_c() {
    cargo test --locked --package pgque-c "$@"
    (($#)) || {
        make --directory bindings-c TARGET="$TARGET/debug" check
        .venv/bin/python tests/connection/secrets.py c
    }
}

generated_c() { printf '%s\n' bindings-c/include/pgque.h bindings-c/symbols.txt; }

generate_c() {
    need cbindgen
    mkdir -p bindings-c/include
    (cd bindings-c && cbindgen --quiet --config cbindgen.toml --crate pgque-c --output include/pgque.h)
    cargo build --locked --package pgque-c
    exported_symbols "$TARGET/debug/libpgque.so" >bindings-c/symbols.txt
}

exported_symbols() { nm --dynamic --defined-only "$1" | awk '{ print $3 }' | LC_ALL=C sort; }

lint_c() {
    need clang-format
    sources '*.c' '*.h' ':!bindings-c/include' | xargs --no-run-if-empty clang-format --dry-run -Werror \
        --style=file:.clang-format
}

package_c() {
    local release version
    version=$(workspace_version)
    portable_cargo build --release --locked --package pgque-c
    release=$(portable_target)
    rm -rf dist/c
    mkdir -p dist/c/include dist/c/lib/pkgconfig
    cp LICENSE dist/c/
    cp bindings-c/include/pgque.h dist/c/include/
    install -m 755 "$release/libpgque.so" "dist/c/lib/libpgque.so.$version"
    ln -s "libpgque.so.$version" "dist/c/lib/libpgque.so.$ABI"
    ln -s "libpgque.so.$ABI" dist/c/lib/libpgque.so
    # Debugging symbols of all the crates within make up half of the archive.
    strip --strip-debug -o dist/c/lib/libpgque.a "$release/libpgque.a"
    pkg_config_file >dist/c/lib/pkgconfig/libpgque.pc
}

pkg_config_file() {
    local url
    url=$(sed -n 's/^repository = "\(.*\)"/\1/p' Cargo.toml)
    sed "s|@VERSION@|$(workspace_version)|; s|@URL@|$url|" bindings-c/libpgque.pc.in
}

artefacts_c() {
    printf 'c/%s\n' LICENSE include/pgque.h lib/libpgque.a lib/libpgque.so "lib/libpgque.so.$ABI" "lib/libpgque.so.$1" \
        lib/pkgconfig/libpgque.pc
}

# The quick start, against the package where it lies and against a copy elsewhere, dynamically and statically linked.
smoke_c() {
    local folder flags
    folder=$(mktemp -d)
    cp -a dist/c "$folder/moved"
    export PKG_CONFIG_PATH=$folder/moved/lib/pkgconfig
    read -ra flags < <(pkg-config --cflags --libs libpgque)
    cc bindings-c/examples/quickstart.c -o "$folder/shared" "${flags[@]}"
    LD_LIBRARY_PATH=$folder/moved/lib "$folder/shared"
    rm "$folder"/moved/lib/*.so*
    read -ra flags < <(pkg-config --static --cflags --libs libpgque)
    cc bindings-c/examples/quickstart.c -o "$folder/static" "${flags[@]}"
    "$folder/static"
    rm -rf "$folder"
}
