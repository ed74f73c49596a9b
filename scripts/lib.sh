# shellcheck shell=bash
# What the scripts share: where things are, how a step is run and reported, how a missing program is named.
# Sourced by every script, after `set -euo pipefail`; never run by itself.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
self=$ROOT/scripts/$(basename "$0")
export ROOT
cd "$ROOT" || exit

# Programs that setup installs for this repository alone come before the machine's own.
export PATH="$ROOT/.venv/bin:$ROOT/.tools/bin:$PATH:/usr/local/go/bin"
export VIRTUAL_ENV="$ROOT/.venv"
export GOTOOLCHAIN=local           # Go must not fetch another Go behind our back
export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-never}
TARGET=${CARGO_TARGET_DIR:-$ROOT/target}

if [[ -t 1 && -z ${NO_COLOR:-} ]]; then
    bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'
else
    bold='' dim='' green='' red='' plain=''
fi

say() { printf '%s\n' "$*"; }
warn() { printf '%s\n' "$*" >&2; }
die() { warn "${red}$*${plain}" && exit 1; }

# usage: prints the comment at the head of a script, which is its help.
usage() { sed -n '2,/^[^#]/{s/^#$//p;s/^# //p;}' "$self"; }

# parse_common ARG…: takes out what every script understands; the rest is left in the array `arguments`.
parse_common() {
    arguments=()
    while (($#)); do
        case $1 in
            --verbose) export VERBOSE=yes ;;
            --help | -h) usage && exit ;;
            --) arguments+=("${@:2}") && break ;;
            *) arguments+=("$1") ;;
        esac
        shift
    done
}

# need PROGRAM HOW: ends the script unless PROGRAM is on PATH, and says how to get it.
need() { command -v "$1" >/dev/null || die "$1 is missing: ${2:-run scripts/setup}"; }

# languages: one file each in scripts/languages; first those that the others stand on (tools are written in Python).
languages() {
    local file
    printf '%s\n' rust engine python
    for file in "$ROOT"/scripts/languages/*.sh; do
        file=$(basename "$file" .sh)
        [[ $file =~ ^(rust|engine|python)$ ]] || echo "$file"
    done
}

# chosen_languages [LANGUAGE]: that one if it is named, else all.
chosen_languages() {
    if (($#)); then
        [[ -f $ROOT/scripts/languages/$1.sh ]] || die "no language '$1'; there are: $(languages | tr '\n' ' ')"
        echo "$1"
    else
        languages
    fi
}

# in_language LANGUAGE FUNCTION [ARG…]: in a shell of its own, so that its first failing command ends it
# (inside `if` and `||` bash would carry on). A path and not a function, so that `timeout` can run it.
export in_language=$ROOT/scripts/languages/run

# has_verb LANGUAGE VERB: whether that language does anything for that verb.
has_verb() { grep -q "^$2_$1()" "$ROOT/scripts/languages/$1.sh"; }

# all_of COMMAND…: runs each, also after one has failed; fails if one did.
all_of() {
    local command bad=0
    for command in "$@"; do eval "$command" || bad=1; done
    return $bad
}

# sources [PATTERN…]: files that are tracked, or will be.
sources() {
    git ls-files --cached --others --exclude-standard -- "$@" | while IFS= read -r file; do
        [[ ! -f $file ]] || printf '%s\n' "$file"
    done
}

# The one version, from Cargo.toml.
workspace_version() { sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml; }

# --- steps ---------------------------------------------------------------------------------------------------

# The outermost script owns the list of steps; scripts that it calls add to it and leave the summary to it.
begin_steps() {
    if [[ -z ${PGQUE_STEPS:-} ]]; then
        PGQUE_STEPS=$(mktemp -d "${TMPDIR:-/tmp}/pgque-steps.XXXXXX")
        export PGQUE_STEPS
        trap 'rm -rf "$PGQUE_STEPS"' EXIT
        owns_steps=yes
    fi
}

# step HEADLINE COMMAND [ARG…]: a line with result and duration; the whole log only on failure or with --verbose.
# A failed step is remembered and the script goes on; end_steps fails at the end. A step that hangs is ended.
step() {
    local headline=$1 log started seconds result=ok note=
    shift
    set -- --kill-after=10 "${STEP_MINUTES_MAX:-15}m" "$@"
    # In a terminal the step must stay in the foreground, or Ctrl-C would not reach it.
    if [[ -t 1 ]]; then set -- timeout --foreground "$@"; else set -- timeout "$@"; fi
    log=$PGQUE_STEPS/$(printf '%s' "$headline" | tr -c 'a-z0-9' '-').log
    started=$EPOCHREALTIME
    if [[ -n ${VERBOSE:-} ]]; then
        say "${bold}▸ $headline${plain}"
        "$@" </dev/null 2>&1 | tee "$log" || result=failed
    else
        printf '  %-42s ' "$headline"
        "$@" </dev/null >"$log" 2>&1 || result=failed
    fi
    seconds=$(awk -v a="$started" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }')
    [[ -z ${VERBOSE:-} ]] || printf '  %-42s ' "$headline"
    if [[ $result == ok ]]; then
        note=$(count_tests "$log")
        printf '%sok%s     %7s s%s\n' "$green" "$plain" "$seconds" "${note:+  $dim$note$plain}"
        sed -n "s/^SKIPPED: /    $bold! left out:$plain /p" "$log"
    else
        printf '%sFAILED%s %7s s\n' "$red" "$plain" "$seconds"
        [[ -n ${VERBOSE:-} ]] || sed 's/^/    | /' "$log"
    fi
    printf '%s\t%s\t%s\t%s\n' "$headline" "$result" "$seconds" "$note" >>"$PGQUE_STEPS/list"
    [[ $result == ok ]] || printf '%s\n' "$headline" >>"$PGQUE_STEPS/failed"
}

# failed HEADLINE: whether that step has failed in this run.
failed() { [[ -f $PGQUE_STEPS/failed ]] && grep -qxF "$1" "$PGQUE_STEPS/failed"; }

# count_tests LOG: adds up what the test runners (cargo, pytest, node --test, go test -v, ours) say has passed.
count_tests() {
    awk '
        /^test result: ok\./            { n += $4; next }
        /^(# |ℹ )pass [0-9]+/           { n += $3; next }
        /^ *--- PASS:/                  { n += 1; next }
        /^ *[0-9]+ passed( |,|$)/ || /^=+ .*[0-9]+ passed/ {
            for (i = 2; i <= NF; i++) if ($i ~ /^passed/) { n += $(i - 1); next }
        }
        END { if (n) print n " tests" }
    ' "$1"
}

# end_steps: the summary, by the script that began the list; 1 when a step has failed.
end_steps() {
    local passed=0 broken=0 headline result seconds note
    [[ -n ${owns_steps:-} ]] || { [[ ! -s $PGQUE_STEPS/failed ]] && return 0 || return 1; }
    touch "$PGQUE_STEPS/list"
    (($(wc -l <"$PGQUE_STEPS/list") < 2)) || printf '\n%s%-42s %-6s %9s%s\n' "$bold" Step Result Duration "$plain"
    while IFS=$'\t' read -r headline result seconds note; do
        if [[ $result == ok ]]; then passed=$((passed + 1)); else broken=$((broken + 1)); fi
        (($(wc -l <"$PGQUE_STEPS/list") < 2)) ||
            printf '%-42s %-6s %7s s%s\n' "$headline" "$result" "$seconds" "${note:+  $note}"
    done <"$PGQUE_STEPS/list"
    printf '%s passed, %s failed\n' "$passed" "$broken"
    ((broken == 0))
}

# --- release builds ------------------------------------------------------------------------------------------

# portable_cargo build …: with zig as the linker, for a C library as old as 2014's; without zig, for this machine's.
portable_cargo() {
    if [[ $(uname -s) == Linux ]] && python3 -m ziglang version >/dev/null 2>&1 && command -v cargo-zigbuild >/dev/null; then
        cargo zigbuild --target "$(portable_triple).2.17" "${@:2}"
    else
        warn "ziglang is missing: this runs only where glibc is as new as here"
        cargo build --target "$(portable_triple)" "${@:2}"
    fi
}
portable_triple() { rustc -vV | sed -n 's/^host: //p'; }
portable_target() { echo "$TARGET/$(portable_triple)/release"; }

# --- work that need not be done twice ------------------------------------------------------------------------

# fresh NAME FILE…: whether these files are as they were at the last `remember NAME FILE…`.
fresh() { [[ -f $ROOT/.tools/stamps/$1 && $(<"$ROOT/.tools/stamps/$1") == "$(fingerprint "${@:2}")" ]]; }
remember() { mkdir -p "$ROOT/.tools/stamps" && fingerprint "${@:2}" >"$ROOT/.tools/stamps/$1"; }
fingerprint() { cat "$@" | sha256sum | cut -d' ' -f1; }
