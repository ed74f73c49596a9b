# shellcheck shell=bash
# Node.js: the addon built by napi, its generated index.js and index.d.ts, the types written in TypeScript.

setup_node() {
    need node "install Node.js 20 or newer from https://nodejs.org"
    need npm "it comes with Node.js"
    node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' || die "Node.js 20 or newer is missing"
    local folder
    for folder in bindings-node tests/drivers/node; do
        [[ -f $folder/package-lock.json ]] || continue
        if [[ -d $folder/node_modules ]] && fresh "npm-${folder//\//-}" "$folder/package-lock.json"; then continue; fi
        # `npm ci` refuses a lock file without optional packages for other systems that a registry does not have.
        npm ci --prefix "$folder" --no-audit --no-fund --loglevel=silent ||
            npm install --prefix "$folder" --no-save --no-audit --no-fund --loglevel=error
        remember "npm-${folder//\//-}" "$folder/package-lock.json"
    done
}

build_node() {
    need npm "it comes with Node.js; install Node.js 20 or newer from https://nodejs.org"
    npm run --prefix bindings-node build
}

test_node() {
    npm test --prefix bindings-node -- "$@"
    (($#)) || .venv/bin/python tests/connection/secrets.py node
}

lint_node() { (cd bindings-node && npm exec --no -- tsc --noEmit --project tsconfig.json); }

# napi writes both while it compiles.
generated_node() { printf '%s\n' bindings-node/index.js bindings-node/index.d.ts; }
generate_node() { npm run --prefix bindings-node build:native; }

versions_node() {
    printf 'package.json\t%s\n' "$(node -p 'require("./bindings-node/package.json").version')"
    printf 'package-lock.json\t%s\n' "$(node -p 'require("./bindings-node/package-lock.json").version')"
}

bump_node() { npm version --prefix bindings-node --no-git-tag-version --allow-same-version "$1"; }

package_node() {
    local folder
    portable_cargo build --release --locked --package pgque-node
    npm run --prefix bindings-node build:lib
    # Packed from a copy: the addon that development uses stays as it is.
    folder=$(mktemp -d)
    cp -r bindings-node/{package.json,README.md,bin,dist,index.js,index.d.ts} LICENSE "$folder/"
    # shellcheck disable=SC2016  # JavaScript's own quotes
    cp "$(portable_target)/libpgque_node.so" "$folder/pgque.$(node -p '`linux-${process.arch}-gnu`').node"
    npm pack "$folder" --pack-destination dist
    rm -rf "$folder"
}

artefacts_node() { echo "libpgque-$1.tgz"; }

smoke_node() {
    local folder
    folder=$(mktemp -d)
    npm install --prefix "$folder" --offline --ignore-scripts --no-audit --no-fund --loglevel=error "$ROOT"/dist/libpgque-*.tgz
    (cd "$folder" && node -e 'console.log(Object.keys(require("libpgque")).join(" "))')
    (cd "$folder" && node --input-type=module -e 'import * as pgque from "libpgque"; console.log(typeof pgque)')
    rm -rf "$folder"
}
