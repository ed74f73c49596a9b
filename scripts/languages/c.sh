# shellcheck shell=bash
# C: the shared and the static library, the generated header and list of symbols, the driver of the conformance suite.

CBINDGEN=0.29.4
ABI=0

debian_c() {
    command -v cc >/dev/null || echo gcc
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
    pkg_config_file "$ROOT/bindings-c/include" "$TARGET/debug" "-Wl,-rpath,$TARGET/debug" >.tools/pkgconfig/libpgque.pc
    if [[ -d tests/drivers/c ]]; then make --directory tests/drivers/c TARGET="$TARGET/debug"; fi
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
        --style=file:bindings-c/.clang-format
}

package_c() {
    local release version
    version=$(workspace_version)
    portable_cargo build --release --locked --package pgque-c
    release=$(portable_target)
    rm -rf dist/c
    mkdir -p dist/c/include dist/c/lib/pkgconfig
    cp bindings-c/include/pgque.h dist/c/include/
    install -m 755 "$release/libpgque.so" "dist/c/lib/libpgque.so.$version"
    ln -s "libpgque.so.$version" "dist/c/lib/libpgque.so.$ABI"
    ln -s "libpgque.so.$ABI" dist/c/lib/libpgque.so
    # Debugging symbols of all the crates within make up half of the archive.
    strip --strip-debug -o dist/c/lib/libpgque.a "$release/libpgque.a"
    # The folder may be put anywhere: the paths are relative to the .pc file.
    # shellcheck disable=SC2016  # pkg-config's own variable
    pkg_config_file '${pcfiledir}/../../include' '${pcfiledir}/..' >dist/c/lib/pkgconfig/libpgque.pc
}

# pkg_config_file INCLUDE LIB [FLAG]: where the header and the libraries are.
pkg_config_file() {
    cat <<PC
includedir=$1
libdir=$2

Name: libpgque
Description: Client of PgQue, an event log and queue inside PostgreSQL
URL: $(sed -n 's/^repository = "\(.*\)"/\1/p' Cargo.toml | head -1)
Version: $(workspace_version)
Cflags: -I\${includedir}
Libs: -L\${libdir} -lpgque${3:+ $3}
Libs.private: -lgcc_s -lutil -lrt -lpthread -lm -ldl -lc
PC
}

artefacts_c() {
    printf 'c/%s\n' include/pgque.h lib/libpgque.a lib/libpgque.so "lib/libpgque.so.$ABI" "lib/libpgque.so.$1" \
        lib/pkgconfig/libpgque.pc
}
