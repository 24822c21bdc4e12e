#!/usr/bin/env bash
# Builds the real programs that the tests talk to into a cache outside the tree.
#
#   scripts/components.sh [--print] [otelcol|prometheus|telemetrygen|compose|all]...
#
# Without a name: all of them. Needs go and git, and about 5 minutes on two cores the first time; later runs do nothing.
# Each lands in ${DRIFTMETER_CACHE:-$HOME/.cache/driftmeter}/components/<name>-<version>[-<hash of its manifest>]/.
# A directory there is always complete: it is built beside its place and moved in at the end, under a lock.
# `--print` builds nothing; it prints "<program> <path>" a line, whether the path exists or not.
set -euo pipefail

readonly OTELCOL_VERSION=0.158.0
readonly PROMETHEUS_VERSION=0.315.0 # The Go module's number for Prometheus 3.15.0.
readonly TELEMETRYGEN_VERSION=0.161.0
readonly COMPOSE_VERSION=2.40.3

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly ROOT
readonly MANIFEST=$ROOT/collector-config/builder.yaml
readonly COMPONENTS=${DRIFTMETER_CACHE:-$HOME/.cache/driftmeter}/components

MANIFEST_HASH=$(sha256sum "$MANIFEST" | cut -c1-12)
readonly MANIFEST_HASH
readonly OTELCOL_DIR=$COMPONENTS/otelcol-$OTELCOL_VERSION-$MANIFEST_HASH
readonly PROMETHEUS_DIR=$COMPONENTS/prometheus-$PROMETHEUS_VERSION
readonly TELEMETRYGEN_DIR=$COMPONENTS/telemetrygen-$TELEMETRYGEN_VERSION
readonly COMPOSE_DIR=$COMPONENTS/compose-$COMPOSE_VERSION

say() { printf 'components: %s\n' "$*" >&2; }

die() {
    say "$*"
    exit 1
}

print_paths() {
    printf 'otelcol %s/otelcol\n' "$OTELCOL_DIR"
    printf 'prometheus %s/prometheus\n' "$PROMETHEUS_DIR"
    printf 'promtool %s/promtool\n' "$PROMETHEUS_DIR"
    printf 'telemetrygen %s/telemetrygen\n' "$TELEMETRYGEN_DIR"
    printf 'docker-compose %s/docker-compose\n' "$COMPOSE_DIR"
}

# An empty module that asks for one module version, so that `go build` takes exactly that version of everything.
# $1 directory, $2 module path as package@version
enter_module() {
    mkdir -p "$1"
    cd "$1"
    go mod init driftmeter.dev/build >/dev/null 2>&1
    go get "$2"
}

build_otelcol() { # $1 where the program goes, $2 a directory to work in
    GOBIN=$2/bin go install "go.opentelemetry.io/collector/cmd/builder@v$OTELCOL_VERSION"
    cp "$MANIFEST" "$2/builder.yaml"
    (cd "$2" && ./bin/builder --config builder.yaml)
    mv "$2/build/otelcol" "$1/otelcol"
}

build_prometheus() {
    # `go install` refuses this module because of its replace directives; building it as a dependency works.
    enter_module "$2" "github.com/prometheus/prometheus/cmd/prometheus@v$PROMETHEUS_VERSION"
    go get "github.com/prometheus/prometheus/cmd/promtool@v$PROMETHEUS_VERSION"
    # Without service discovery (a quarter of the work), which the static targets of this repository do not use.
    go build -tags netgo,remove_all_sd -ldflags "-s -w -X github.com/prometheus/common/version.Version=3.${PROMETHEUS_VERSION:3:2}.0" \
        -o "$1/" github.com/prometheus/prometheus/cmd/prometheus github.com/prometheus/prometheus/cmd/promtool
}

build_telemetrygen() {
    GOBIN=$1 go install \
        "github.com/open-telemetry/opentelemetry-collector-contrib/cmd/telemetrygen@v$TELEMETRYGEN_VERSION"
}

build_compose() {
    enter_module "$2" "github.com/docker/compose/v2/cmd@v$COMPOSE_VERSION"
    go build -ldflags "-s -w -X github.com/docker/compose/v2/internal.Version=$COMPOSE_VERSION" \
        -o "$1/docker-compose" github.com/docker/compose/v2/cmd
}

# Builds one component unless it is there: $1 name, $2 its directory.
ensure() {
    if [[ -d $2 ]]; then
        say "$1 is there: $2"
        return
    fi
    command -v go >/dev/null || die "building $1 needs Go (https://go.dev/dl/) on the PATH"
    command -v git >/dev/null || die "building $1 needs git on the PATH"
    mkdir -p "$COMPONENTS"
    exec 9>"$COMPONENTS/.$1.lock"
    flock 9
    if [[ -d $2 ]]; then # Another run built it while this one waited.
        exec 9>&-
        say "$1 is there: $2"
        return
    fi
    say "building $1 (minutes the first time) ..."
    local began=$SECONDS scratch
    rm -rf "$COMPONENTS/.build-$1".* # Left by a run that was killed; the lock says that none is going on.
    scratch=$(mktemp -d "$COMPONENTS/.build-$1.XXXXXX")
    mkdir "$scratch/out" "$scratch/work"
    local status
    set +e # Inside a condition, bash would not stop at the first command that fails.
    (set -e; export CGO_ENABLED=0 GOWORK=off GOFLAGS=-trimpath; "build_$1" "$scratch/out" "$scratch/work") \
        >"$scratch/log" 2>&1
    status=$?
    set -e
    if [[ $status -ne 0 ]]; then
        tail -n 40 "$scratch/log" >&2
        mv -f "$scratch/log" "$COMPONENTS/$1.log"
        rm -rf "$scratch"
        die "building $1 failed; its whole output is in $COMPONENTS/$1.log"
    fi
    mv "$scratch/out" "$2"
    rm -rf "$scratch"
    exec 9>&-
    say "built $1 in $((SECONDS - began)) s: $2"
}

main() {
    local names=()
    for argument in "$@"; do
        case $argument in
            --print) print_paths; return ;;
            otelcol | prometheus | telemetrygen | compose) names+=("$argument") ;;
            all) names+=(otelcol prometheus telemetrygen compose) ;;
            -h | --help) sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; return ;;
            *) die "unknown name '$argument'; known: otelcol prometheus telemetrygen compose all, or --print" ;;
        esac
    done
    [[ ${#names[@]} -gt 0 ]] || names=(otelcol prometheus telemetrygen compose)
    for name in "${names[@]}"; do
        local directory=${name^^}_DIR
        ensure "$name" "${!directory}"
    done
}

main "$@"
