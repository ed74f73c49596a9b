# shellcheck shell=bash
# Python: the extension module built by maturin into .venv, and the tools written in Python.

debian_python() {
    [[ -x .venv/bin/python ]] || python3 -c 'import ensurepip' 2>/dev/null || echo python3-venv
}

setup_python() {
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || die "Python 3.10 or newer is missing"
    .venv/bin/python -c '' 2>/dev/null || { rm -rf .venv && python3 -m venv .venv && rm -f .tools/stamps/python; }
    fresh python scripts/requirements.txt || {
        .venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement scripts/requirements.txt
        remember python scripts/requirements.txt
    }
    [[ -n ${PGQUE_TEST_PYTHONS:-} ]] || scripts/newer-python
}

build_python() {
    need maturin
    maturin develop --quiet --locked --manifest-path bindings-python/Cargo.toml
}

# The wheel, not the source tree, on each interpreter. With arguments for pytest on the first alone.
test_python() {
    local python wheel pythons
    read -ra pythons <<<"${PGQUE_TEST_PYTHONS:-python3 $ROOT/.tools/python-3.13/usr/bin/python3.13}"
    wheel=$(development_wheel)
    ((!$#)) || pythons=("${pythons[0]}")
    for python in "${pythons[@]}"; do test_wheel "$python" "$wheel" "$@"; done
    (($#)) || python tests/connection/secrets.py python
    (($#)) || python tests/compatibility/run.py
}

# development_wheel [PYTHON]: quick to build, and stripped, for nobody debugs it. For every Python, or for that one alone.
development_wheel() {
    local out=.tools/wheel${1:+-own}
    rm -rf "$out"
    maturin build --quiet --locked --strip --manifest-path bindings-python/Cargo.toml --out "$out" ${1:+--interpreter "$1"}
    echo "$ROOT/$out"/*.whl
}

# without_lock PYTHON: whether it is built without the global lock, and so loads no wheel but one of its own.
without_lock() { "$1" -c 'import sys, sysconfig; sys.exit(not sysconfig.get_config_var("Py_GIL_DISABLED"))'; }

# Of those that PGQUE_TEST_PYTHONS names.
pythons_without_lock() {
    local python
    for python in ${PGQUE_TEST_PYTHONS:-}; do ! without_lock "$python" || echo "$python"; done
}

# test_wheel PYTHON WHEEL [ARG…]: in an environment where nothing else of ours is.
test_wheel() {
    local venv wheel=$2
    venv=$ROOT/.tools/venv-$("$1" -c 'import sys; print("%d.%d%s" % (*sys.version_info[:2], sys.abiflags))')
    [[ -x $venv/bin/python ]] || "$1" -m venv --without-pip "$venv"
    ! without_lock "$1" || wheel=$(development_wheel "$1")
    install_wheel "$venv" "$wheel"
    "$venv/bin/python" -VV
    # Or the first module that was not made for it, psycopg2's, would turn the lock on.
    ! without_lock "$1" || local -x PYTHON_GIL=0
    (cd bindings-python && PGQUE_TEST_INSTALLED=yes "$venv/bin/python" -m pytest --quiet "${@:3}")
    (($# > 2)) || "$venv/bin/python" -m mypy.stubtest --allowlist bindings-python/stubtest.txt --ignore-unused-allowlist pgque
}

install_wheel() {
    local pip=(.venv/bin/python -m pip --disable-pip-version-check --python "$1/bin/python" install --quiet) psycopg=psycopg
    # pip takes no extras in constraints.
    sed 's/\[.*\]//' scripts/requirements.txt >.tools/constraints.txt
    # What needs no libpq of the system's has no wheel for Python without the lock.
    without_lock "$1/bin/python" || psycopg='psycopg[binary]'
    "${pip[@]}" --constraint .tools/constraints.txt "$2[test]" "$psycopg"
    # Another wheel of the same version is no reason for pip to look at it.
    "${pip[@]}" --force-reinstall --no-deps "$2"
}

lint_python() {
    need ruff
    # With the programs of the READMEs, as a reader's own tools would read them.
    local ours=(bindings-python/python bindings-python/examples .tools/readme_programs.py)
    scripts/readme-programs README.md bindings-python/README.md >.tools/readme_programs.py
    all_of "ruff check ." "ruff format --check ." \
        "mypy --strict --config-file bindings-python/pyproject.toml ${ours[*]}" \
        "pyright --pythonpath .venv/bin/python ${ours[*]}"
}

versions_python() {
    # pyproject.toml has no version of its own: maturin reads Cargo.toml. What pip and users read is compared.
    .venv/bin/python - <<'PY' 2>/dev/null || true
import importlib.metadata
import pgque
print("installed libpgque", importlib.metadata.version("libpgque"), sep="\t")
print("pgque.__version__", pgque.__version__, sep="\t")
PY
}

package_python() {
    need maturin
    cp LICENSE bindings-python/
    trap 'rm -f bindings-python/LICENSE' EXIT
    maturin sdist --manifest-path bindings-python/Cargo.toml --out dist
    # A wheel made with zig runs on any Linux since 2014; without zig, on this one and newer.
    local python wheel portable=(--zig --compatibility manylinux2014)
    if ! has_zig; then
        warn "ziglang is missing: this wheel runs only where glibc is as new as here"
        portable=()
    fi
    release_wheel "${portable[@]}"
    for python in $(pythons_without_lock); do release_wheel "${portable[@]}" --interpreter "$python"; done
    if has_musl; then release_wheel --zig --target "$(musl_triple)" --compatibility musllinux_1_2; fi
    for wheel in dist/libpgque-*.whl; do check_wheel "$wheel"; done
}

release_wheel() {
    maturin build --release --locked --manifest-path bindings-python/Cargo.toml --out dist "$@"
}

has_zig() { python -m ziglang version >/dev/null 2>&1; }

# For Alpine and its like, where rustup has Rust's standard library for that.
has_musl() { has_zig && { [[ -d $(musl_std) ]] || { rustup target add "$(musl_triple)" && [[ -d $(musl_std) ]]; }; } >&2; }
musl_triple() { echo "$(uname -m)-unknown-linux-musl"; }
musl_std() { echo "$(rustc --print sysroot)/lib/rustlib/$(musl_triple)/lib"; }

WHEEL_BYTES_MAX=$((4 * 1024 * 1024))

check_wheel() {
    local size
    size=$(stat --format %s "$1")
    ((size <= WHEEL_BYTES_MAX)) || die "$1 has $size bytes, more than $WHEEL_BYTES_MAX"
    # maturin has looked at this one; auditwheel knows musl's library only by the name that Alpine gives it.
    [[ $1 != *musllinux* ]] || return 0
    auditwheel show "$1"
    # The name of the file promises what auditwheel finds.
    ! has_zig ||
        auditwheel show "$1" | tr '\n' ' ' | grep --quiet 'platform tag: *"manylinux_2_17_' ||
        die "$1 is no manylinux2014 wheel"
}

artefacts_python() {
    echo "libpgque-$1-cp310-abi3-*.whl"
    [[ ! -d $(musl_std) ]] || echo "libpgque-$1-cp310-abi3-musllinux_1_2_*.whl"
    [[ -z $(pythons_without_lock) ]] || echo "libpgque-$1-cp3*t-*.whl"
    echo "libpgque-$1.tar.gz"
}

smoke_python() {
    local artefact python
    for artefact in dist/libpgque-*.whl dist/libpgque-*.tar.gz; do
        # Another C library than this system's, or another Python.
        [[ $artefact == *musllinux* || $artefact == *t-*.whl ]] || try_artefact python3 "$artefact"
    done
    for python in $(pythons_without_lock); do
        try_artefact "$python" dist/libpgque-*-"$("$python" -c 'import sys; print("cp%d%dt" % sys.version_info[:2])')"-*.whl
    done
}

# try_artefact PYTHON FILE: where nothing else of ours is, in a new environment, from another folder.
try_artefact() {
    local folder
    folder=$(mktemp -d)
    "$1" -m venv "$folder/venv"
    "$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check "$2"
    (cd "$folder" && venv/bin/python -c 'import pgque; print(pgque.__version__, pgque.PgqueClient)')
    (cd "$folder" && venv/bin/pgque --version)
    rm -rf "$folder"
}
