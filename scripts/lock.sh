#!/usr/bin/env bash
# Pins all dependencies with hashes and without addresses: dev.lock for work on the project, runtime.lock for the image.
set -euo pipefail
cd "$(dirname "$0")/.."
.venv/bin/pip install --quiet 'uv>=0.9,<1'
compile() {
  .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
    "$@" pyproject.toml
}
compile --extra dev --output-file requirements/dev.lock
compile --output-file requirements/runtime.lock
