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
}

build_python() {
    need maturin
    maturin develop --quiet --locked --manifest-path bindings-python/Cargo.toml
}

test_python() {
    (cd bindings-python && python -m pytest --quiet "$@")
    (($#)) || python tests/connection/secrets.py python
}

lint_python() {
    need ruff
    all_of "ruff check ." "ruff format --check ." \
        "mypy --strict --config-file bindings-python/pyproject.toml bindings-python/python"
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
    # A wheel made with zig runs on any Linux since 2014; without zig, on this one and newer.
    if python -m ziglang version >/dev/null 2>&1; then
        maturin build --release --locked --zig --compatibility manylinux2014 \
            --manifest-path bindings-python/Cargo.toml --out dist
    else
        warn "ziglang is missing: this wheel runs only where glibc is as new as here"
        maturin build --release --locked --manifest-path bindings-python/Cargo.toml --out dist
    fi
}

artefacts_python() { echo "libpgque-$1-cp310-abi3-*.whl"; }

smoke_python() {
    local folder
    folder=$(mktemp -d)
    # The wheel must work where nothing else of ours is: a new environment, from another folder.
    python3 -m venv "$folder/venv"
    "$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check dist/libpgque-*.whl
    (cd "$folder" && venv/bin/python -c 'import pgque; print(pgque.__version__, pgque.PgqueClient)')
    rm -rf "$folder"
}
