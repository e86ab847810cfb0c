# One command per gate. `make up` and `make test` each set up everything that they need.
PYTHON ?= python3
VENV := .venv
VENV_V1 := .venv-v1
VENV_RIVALS := .venv-rivals
BIN := $(VENV)/bin
NODE_TESTS := tests/clients/node
# Tests that wait for real processes leave a core idle; files stay whole, since a file shares its cluster.
WORKERS ?= $(shell cores=$$(getconf _NPROCESSORS_ONLN); echo $$((cores < 8 ? cores + 1 : 8)))
MEASURED := core store node
# Hundreds of processes are started, and each would compile all that it imports: three seconds instead of one.
unexport PYTHONDONTWRITEBYTECODE
# One file for every platform, from the oldest Python that is supported on.
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-emit-find-links --custom-compile-command "make lock"

.DEFAULT_GOAL := help
.PHONY: help install install-tests up test unit coverage test-python check format bench lock clean

help: ## What each target does
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

install: $(VENV)/.installed ## The environment in .venv: Mooring, its examples and its checks

$(VENV)/.installed: requirements/dev.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/uv.txt
	$(BIN)/uv pip sync --quiet --python $(BIN)/python requirements/dev.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

$(VENV_V1)/.installed: $(VENV)/.installed requirements/sdk-v1.txt
	$(PYTHON) -m venv $(VENV_V1)
	$(BIN)/uv pip sync --quiet --python $(VENV_V1)/bin/python requirements/sdk-v1.txt
	$(BIN)/uv pip install --quiet --python $(VENV_V1)/bin/python --no-deps --editable .
	@touch $@

$(VENV_RIVALS)/.installed: $(VENV)/.installed requirements/rivals.txt
	$(PYTHON) -m venv $(VENV_RIVALS)
	$(BIN)/uv pip sync --quiet --python $(VENV_RIVALS)/bin/python requirements/rivals.txt
	@touch $@

$(NODE_TESTS)/node_modules/.installed: $(NODE_TESTS)/package-lock.json
	cd $(NODE_TESTS) && npm ci --silent --no-audit --no-fund
	@touch $@

install-tests: install $(VENV_V1)/.installed
	scripts/install-test-tools
	@! command -v npm >/dev/null || $(MAKE) --no-print-directory $(NODE_TESTS)/node_modules/.installed

up: install ## Three nodes of the example behind Traefik, with Redis, on this machine
	@$(BIN)/mooring up examples/counter.py:server \
		--hint "call it from another terminal: $(BIN)/python examples/client.py {url}"

test: install-tests ## The whole test suite, with real processes
	$(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder tests/shapes tests/e2e tests/chaos tests

unit: install ## The tests that need no other process
	$(BIN)/pytest -n $(WORKERS) -m "not real"

coverage: install ## Which branches of the core, the store and the node the tests take
	$(BIN)/pytest -n $(WORKERS) $(MEASURED:%=tests/%) $(MEASURED:%=--cov=src/mooring/%) --cov-branch \
		--cov-report=term-missing:skip-covered

test-python: install-tests ## The tests of the inner parts under Python VERSION=3.12, or under each that is supported
	WORKERS=$(WORKERS) scripts/test-python $(VERSION)

check: install ## Format, lint, who imports whom, strict types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy

format: install ## Rewrite the sources in the project's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: install $(VENV_RIVALS)/.installed ## Speed and cost against the bare server, as ratios
	$(BIN)/python -m benchmarks

lock: install ## Resolve the pinned development environments anew
	$(COMPILE) --extra local --group dev --output-file requirements/dev.txt pyproject.toml
	$(COMPILE) --group sdk-v1 --output-file requirements/sdk-v1.txt pyproject.toml
	$(COMPILE) --group pyproject.toml:rivals --output-file requirements/rivals.txt

clean: ## Remove what the other targets made
	rm -rf $(VENV) $(VENV_V1) $(VENV_RIVALS) $(VENV)-3.* $(NODE_TESTS)/node_modules .mooring
