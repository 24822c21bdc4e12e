# Every target sets up what it needs; see CONTRIBUTING.md.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: setup demo test check bench bench-peers accuracy chaos components fuzz test-compose docs proto lock clean

setup: $(STAMP)

$(STAMP): requirements/dev.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	$(BIN)/driftmeter warm-up
	@touch $@

demo: $(STAMP) ## Train a model, serve a year of flights through it, show what drifts.
	$(BIN)/driftmeter demo

test: $(STAMP) ## All tests; those that need Go build the real Collector and Prometheus first.
	@if command -v go >/dev/null; then scripts/components.sh all; fi
	$(BIN)/python -m pytest -m "not compose"

check: $(STAMP) ## Style, types, layers.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP) ## All benchmarks as a table; python -m benchmarks NAME --json for one.
	$(BIN)/python -m benchmarks

bench-peers: ## Pinned environments of Evidently and NannyML, outside the tree, for what is compared with them.
	scripts/peers.sh

accuracy: $(STAMP) bench-peers ## How often alarms are false, and what is detected, beside other libraries: docs/accuracy.md.
	$(BIN)/python -m accuracy --document docs/accuracy.md

CHAOS_SEED ?= 1
CHAOS_KILLS ?= 100
CHAOS_DIRECTORY ?= build/chaos-$(CHAOS_SEED)

chaos: $(STAMP) ## Kill service and Collector 100 times under load, then count every span. Goes on when interrupted.
	PYTHONPATH=tests $(BIN)/python -m chaos --seed $(CHAOS_SEED) --kills $(CHAOS_KILLS) --directory $(CHAOS_DIRECTORY)

FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?= journal framed_journal bundle snapshot state decoder json_body http_body

fuzz: $(STAMP) ## Feed everything that reads bytes with damaged ones, guided by coverage, FUZZ_SECONDS for each target.
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/fuzz.lock
	@for target in $(FUZZ_TARGETS); do \
	  echo "== $$target"; \
	  PYTHONPATH=service:tests $(BIN)/python -m fuzz $$target .fuzz/$$target -max_total_time=$(FUZZ_SECONDS) \
	    -rss_limit_mb=2048 -timeout=20 -max_len=65536 -print_final_stats=0 -verbosity=1 || exit 1; \
	done

components: ## Build the real Collector, Prometheus and telemetrygen into a cache outside the tree.
	scripts/components.sh all

test-compose: $(STAMP) ## Bring up docker-compose.yml with a real dockerd and look for scores in its Prometheus (root, Debian).
	DRIFTMETER_REQUIRE=all $(BIN)/python -m pytest -m compose tests/compose

docs: $(STAMP) ## Write the pages that are generated from the code.
	$(BIN)/python -m driftmeter.methods.document > docs/methods.md
	$(BIN)/python -m driftmeter.export.document > docs/metrics.md
	$(BIN)/python -m driftmeter.config_document > docs/configuration.md
	$(BIN)/python scripts/dashboard.py

proto: $(STAMP) ## Generate the code that tests decode remote-write requests with.
	scripts/proto.sh

lock: $(STAMP) ## Pin all dependencies anew.
	scripts/lock.sh

clean:
	rm -rf $(VENV) dist build
