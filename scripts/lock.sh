#!/usr/bin/env bash
# Pins all dependencies with hashes and without addresses: dev.lock for work on the project, runtime.lock for the image,
# build.lock for what builds the image's wheel.
set -euo pipefail
cd "$(dirname "$0")/.."
.venv/bin/pip install --quiet 'uv>=0.9,<1'
compile() {
  .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header "$@"
}
compile --extra dev --output-file requirements/dev.lock pyproject.toml
compile --output-file requirements/runtime.lock pyproject.toml
echo 'hatchling>=1.27,<2' | compile --output-file requirements/build.lock -
