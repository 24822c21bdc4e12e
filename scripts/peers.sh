#!/usr/bin/env bash
# Makes the environments of the libraries that benchmarks and accuracy tables compare with, in a cache outside the tree.
#
#   scripts/peers.sh [--print] [evidently|nannyml|all]...
#
# Without a name: all of them. Needs Python 3.11 or newer ($PYTHON, default python3) and a minute the first time; later
# runs do nothing. Each lands in ${DRIFTMETER_CACHE:-$HOME/.cache/driftmeter}/peers/<name>-<hash of its lock>/; its
# program is bin/python there. A directory there is always complete: it is made beside its place and moved in, under a
# lock. `--print` makes nothing; it prints "<name> <path of its python>" a line, whether the path exists or not.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly ROOT
readonly PEERS=${DRIFTMETER_CACHE:-$HOME/.cache/driftmeter}/peers
readonly PYTHON=${PYTHON:-python3}

say() { printf 'peers: %s\n' "$*" >&2; }

die() {
    say "$*"
    exit 1
}

lock_of() { printf '%s/requirements/peers-%s.lock' "$ROOT" "$1"; }

directory_of() { printf '%s/%s-%s' "$PEERS" "$1" "$(sha256sum "$(lock_of "$1")" | cut -c1-12)"; }

# Makes one environment unless it is there: $1 name.
ensure() {
    local directory
    directory=$(directory_of "$1")
    if [[ -d $directory ]]; then
        say "$1 is there: $directory"
        return
    fi
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || die "$PYTHON must be Python 3.11 or newer"
    mkdir -p "$PEERS"
    exec 9>"$PEERS/.$1.lock"
    flock 9
    if [[ -d $directory ]]; then # Another run made it while this one waited.
        exec 9>&-
        say "$1 is there: $directory"
        return
    fi
    say "making the environment of $1 (a minute) ..."
    rm -rf "$PEERS/.make-$1" # Left by a run that was killed; the lock says that none is going on.
    "$PYTHON" -m venv "$PEERS/.make-$1"
    if ! "$PEERS/.make-$1/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps \
        -r "$(lock_of "$1")" 9>&-; then
        rm -rf "$PEERS/.make-$1"
        die "the environment of $1 could not be made; see above"
    fi
    mv "$PEERS/.make-$1" "$directory" # Its python may be moved; its other programs are not used.
    exec 9>&-
    say "made $directory"
}

main() {
    local names=() print=
    for argument in "$@"; do
        case $argument in
            --print) print=1 ;;
            evidently | nannyml) names+=("$argument") ;;
            all) names+=(evidently nannyml) ;;
            -h | --help) sed -n '2,10s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; return ;;
            *) die "unknown name '$argument'; known: evidently nannyml all, or --print" ;;
        esac
    done
    [[ ${#names[@]} -gt 0 ]] || names=(evidently nannyml)
    for name in "${names[@]}"; do
        if [[ -n $print ]]; then
            printf '%s %s/bin/python\n' "$name" "$(directory_of "$name")"
        else
            ensure "$name"
        fi
    done
}

main "$@"
