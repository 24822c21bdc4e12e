#!/usr/bin/env bash
# Pins all dependencies with hashes and without addresses: dev.lock for work on the project, runtime.lock for the image,
# build.lock for what builds the image's wheel, peers-*.lock for the libraries that benchmarks compare with.
set -euo pipefail
cd "$(dirname "$0")/.."
.venv/bin/pip install --quiet 'uv>=0.9,<1'
compile() {
  .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header "$@"
}
compile --extra dev --output-file requirements/dev.lock pyproject.toml
compile --output-file requirements/runtime.lock pyproject.toml
echo 'hatchling>=1.27,<2' | compile --output-file requirements/build.lock -
# What benchmarks compare with, each in an environment of its own. Neither works with pandas 3; NannyML imports
# statsmodels without asking for it, and kaleido's later build has wheels for one platform alone.
printf 'evidently==0.7.23\npandas<3\n' | compile --output-file requirements/peers-evidently.lock -
printf 'nannyml==0.13.1\npandas<3\nstatsmodels\nkaleido==0.2.1\n' | compile --output-file requirements/peers-nannyml.lock -
