#!/usr/bin/env bash
# A Docker daemon of the tests' own, holding local images under the tags that docker-compose.yml and Dockerfile pin.
#
#   scripts/docker-for-tests.sh up      installs docker.io and debootstrap where missing (Debian, root), builds what the
#                                       images hold, starts the daemon, fills the tags, prints the environment to use
#   scripts/docker-for-tests.sh env     prints DOCKER_HOST and DOCKER_CONFIG, one assignment a line
#   scripts/docker-for-tests.sh down    stops the daemon
#
# Nothing is pulled: the Collector and Prometheus images hold the programs of scripts/components.sh, and the Debian
# base comes from debootstrap. That is why the daemon has its own socket and its own data: these images must never
# stand in for the published ones in a daemon that people use. The host's certificates and pip settings go into the
# local Debian image, so that what can be installed on this machine can be installed in a build.
set -euo pipefail

readonly COLLECTOR_IMAGE=otel/opentelemetry-collector-contrib:0.158.0
readonly PROMETHEUS_IMAGE=prom/prometheus:v3.15.0
readonly DEBIAN_IMAGE=debian:bookworm-slim

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly ROOT
readonly CACHE=${DRIFTMETER_CACHE:-$HOME/.cache/driftmeter}
readonly STATE=$CACHE/docker
readonly RUN=/run/driftmeter-docker # Short, since socket paths may have 107 characters at most.
readonly CERTIFICATES=/etc/ssl/certs/ca-certificates.crt

export DOCKER_HOST=unix://$RUN/docker.sock DOCKER_CONFIG=$STATE/config

say() { printf 'docker-for-tests: %s\n' "$*" >&2; }

die() {
    say "$*"
    exit 1
}

print_environment() { printf 'DOCKER_HOST=%s\nDOCKER_CONFIG=%s\n' "$DOCKER_HOST" "$DOCKER_CONFIG"; }

install_packages() {
    command -v dockerd >/dev/null && command -v debootstrap >/dev/null && command -v iptables >/dev/null && return
    command -v apt-get >/dev/null || die "dockerd, debootstrap or iptables is missing, and there is no apt-get to add them"
    say "installing docker.io, debootstrap and iptables ..."
    mkdir -p "$STATE"
    if ! { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
        docker.io debootstrap iptables; } >"$STATE/apt.log" 2>&1; then
        tail -n 20 "$STATE/apt.log" >&2
        die "apt-get failed; its whole output is in $STATE/apt.log"
    fi
}

component() { "$ROOT/scripts/components.sh" --print | awk -v name="$1" '$1 == name { print $2 }'; }

start_daemon() {
    if docker version >/dev/null 2>&1; then
        say "the daemon runs already"
        return
    fi
    mkdir -p "$RUN" "$STATE/data" "$DOCKER_CONFIG/cli-plugins"
    setsid dockerd --host "$DOCKER_HOST" --data-root "$STATE/data" --exec-root "$RUN/exec" --pidfile "$RUN/dockerd.pid" \
        >"$STATE/dockerd.log" 2>&1 </dev/null 9>&- &
    for _ in $(seq 120); do
        docker version >/dev/null 2>&1 && return
        sleep 0.5
    done
    tail -n 20 "$STATE/dockerd.log" >&2
    die "dockerd did not start within 60 s; its whole output is in $STATE/dockerd.log"
}

stop_daemon() {
    [[ -e $RUN/dockerd.pid ]] || return 0
    local pid
    pid=$(<"$RUN/dockerd.pid")
    kill "$pid" 2>/dev/null || return 0
    for _ in $(seq 60); do
        kill -0 "$pid" 2>/dev/null || return 0
        sleep 0.5
    done
    die "dockerd ($pid) did not stop within 30 s"
}

# Fills a tag unless it is filled from the same source: $1 image, $2 what it is made from; the tar comes on stdin.
# The rest are changes to the image's settings, as `docker import` takes them.
import_image() {
    local image=$1 source=$2 changes=()
    for change in "${@:3}"; do changes+=(--change "$change"); done
    say "filling $image"
    docker import "${changes[@]}" --change "LABEL driftmeter.test.source=$source" - "$image" >/dev/null
}

filled() { # $1 image, $2 what it should be made from
    [[ $(docker image inspect --format '{{index .Config.Labels "driftmeter.test.source"}}' "$1" 2>/dev/null) == "$2" ]]
}

fill_collector() {
    local program scratch
    program=$(component otelcol)
    filled "$COLLECTOR_IMAGE" "$program" && return
    scratch=$(mktemp -d)
    mkdir -p "$scratch/etc/ssl/certs"
    cp "$program" "$scratch/otelcol-contrib"
    cp "$CERTIFICATES" "$scratch/etc/ssl/certs/"
    tar --numeric-owner --owner=0 --group=0 -C "$scratch" -c . | import_image "$COLLECTOR_IMAGE" "$program" \
        'USER 10001:10001' 'ENTRYPOINT ["/otelcol-contrib"]' 'CMD ["--config","/etc/otelcol-contrib/config.yaml"]'
    rm -rf "$scratch"
}

fill_prometheus() {
    local program scratch
    program=$(component prometheus)
    filled "$PROMETHEUS_IMAGE" "$program" && return
    scratch=$(mktemp -d)
    mkdir -p "$scratch/bin" "$scratch/prometheus" "$scratch/etc/prometheus" "$scratch/tmp"
    cp "$program" "$(component promtool)" "$scratch/bin/"
    chown 65534:65534 "$scratch/prometheus" # As in the published image: a new volume takes this owner.
    tar --numeric-owner -C "$scratch" -c . | import_image "$PROMETHEUS_IMAGE" "$program" \
        'ENV PATH=/bin' 'USER 65534' 'WORKDIR /prometheus' 'VOLUME /prometheus' 'ENTRYPOINT ["/bin/prometheus"]' \
        'CMD ["--config.file=/etc/prometheus/prometheus.yml","--storage.tsdb.path=/prometheus"]'
    rm -rf "$scratch"
}

# The mirror that this machine's own apt uses for Debian 12; nothing when it uses none, and debootstrap takes its own.
debian_mirror() {
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Codename: bookworm' 'Component: main' \
        'Origin: Debian' 2>/dev/null | head -n 1
}

# Debian 12 with Python, and this machine's certificates and pip settings, kept as a tar file outside the tree.
make_debian() { # $1 the tar file
    say "making the Debian base with debootstrap ..."
    local scratch mirror
    scratch=$(mktemp -d "$STATE/.debian.XXXXXX")
    mirror=$(debian_mirror)
    chmod 755 "$scratch"
    if ! debootstrap --variant=minbase --include=python3,python3-venv,python3-pip,ca-certificates bookworm \
        "$scratch" ${mirror:+"$mirror"} >"$STATE/debootstrap.log" 2>&1; then
        tail -n 20 "$STATE/debootstrap.log" >&2
        rm -rf "$scratch"
        die "debootstrap failed; its whole output is in $STATE/debootstrap.log"
    fi
    rm -rf "$scratch"/var/cache/apt/archives/*.deb
    cp "$CERTIFICATES" "$scratch$CERTIFICATES"
    cp /etc/pip.conf "$scratch/etc/pip.conf" 2>/dev/null || true
    tar --numeric-owner -C "$scratch" -cf "$1.part" .
    rm -rf "$scratch"
    mv "$1.part" "$1"
}

fill_debian() {
    local tarball settings
    tarball=$STATE/debian-bookworm-python.tar
    [[ -e $tarball ]] || make_debian "$tarball"
    # Build steps inherit these; the names of indexes and proxies stay out of the repository.
    settings=("ENV PIP_CERT=$CERTIFICATES")
    local name
    for name in PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_TRUSTED_HOST http_proxy https_proxy no_proxy; do
        [[ -z ${!name:-} ]] || settings+=("ENV $name=${!name}")
    done
    local source
    source=$tarball:$(printf '%s\n' "${settings[@]}" | sha256sum | cut -c1-12)
    filled "$DEBIAN_IMAGE" "$source" && return
    import_image "$DEBIAN_IMAGE" "$source" 'CMD ["bash"]' "${settings[@]}" <"$tarball"
}

up() {
    [[ $(uname -s) == Linux ]] || die "needs Linux"
    [[ $(id -u) == 0 ]] || die "needs root, to run a Docker daemon of its own"
    install_packages
    "$ROOT/scripts/components.sh" otelcol prometheus compose
    mkdir -p "$STATE"
    exec 9>"$STATE/.lock" # Two runs at once would start two daemons on one directory.
    flock 9
    start_daemon
    ln -sf "$(component docker-compose)" "$DOCKER_CONFIG/cli-plugins/docker-compose"
    fill_collector
    fill_prometheus
    fill_debian
    exec 9>&-
    print_environment
}

case ${1:-} in
    up) up ;;
    env) print_environment ;;
    down) stop_daemon ;;
    *) die "usage: $0 up | env | down" ;;
esac
