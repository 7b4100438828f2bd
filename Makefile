# Needs python3 (3.11 or newer), Node.js (20 or newer) and make; everything else is installed below
# this folder. Stamps keep repeated runs quick.

PYTHON ?= python3
PORT ?= 8000
DATA ?= data
HOST ?= 127.0.0.1
ROUNDS ?= 200
SEED ?= 1
FRAMES ?= 1000000
JOBS ?= 2

VENV := .venv
BIN := $(VENV)/bin
PAGE := src/parlour/transports/http/static/index.html
NATIVE := src/parlour/native/_outlet.c
PAGE_SOURCES := $(shell find sdk/src web/src web/public web/index.html web/*.ts web/*.js \
	-type f 2>/dev/null)

.DEFAULT_GOAL := help
.PHONY: help demo test test-ready test-python test-web test-browser test-litellm check format bench bench-fanout fault \
	build screenshots docs schema figures constraints clean

help: ## List the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | \
		awk -F ':.*## ' '{ printf "  make %-13s %s\n", $$1, $$2 }'

demo: $(VENV)/.installed $(PAGE) ## Serve the demo (PORT=8000 HOST=127.0.0.1 DATA=data)
	@$(BIN)/parlour demo --host $(HOST) --port $(PORT) --data $(DATA)

test: ## Install what is missing and run every test
	@scripts/install-servers.sh
	@MAKE="$(MAKE)" scripts/test-all.sh

test-web: node_modules/.installed
	npm test

test-browser: $(VENV)/.installed $(PAGE)
	@scripts/test-browser.sh

# What both of them need, so that neither installs or builds while the other does.
test-ready: $(VENV)/.dev $(VENV)/.installed $(PAGE) tests/interop/node_modules/.installed

test-litellm: ## Models through LiteLLM, and on the SDK that it wants
	@VENV=$(VENV)-litellm PYTHON=$(PYTHON) scripts/test-litellm.sh

test-python: $(VENV)/.dev $(PAGE) tests/interop/node_modules/.installed
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile

check: $(VENV)/.dev node_modules/.installed ## Format, lint, types and import direction
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	npm run check

format: $(VENV)/.dev node_modules/.installed ## Format the sources
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	npm run format

bench: $(VENV)/.dev ## Measure connections, streams, documents and agents (JSON=file)
	$(BIN)/python -m benchmarks.connections $(if $(JSON),--json $(JSON))
	$(BIN)/python -m benchmarks.streams $(if $(JSON),--json $(basename $(JSON))-streams.json)
	$(BIN)/python -m benchmarks.reconnect $(if $(JSON),--json $(basename $(JSON))-reconnect.json)
	$(BIN)/python -m benchmarks.pool $(if $(JSON),--json $(basename $(JSON))-pool.json)
	$(BIN)/python -m benchmarks.documents $(if $(JSON),--json $(basename $(JSON))-documents.json)
	$(BIN)/python -m benchmarks.agents $(if $(JSON),--json $(basename $(JSON))-agents.json)

bench-fanout: $(VENV)/.dev ## Measure fan-out beside other servers (JSON=file)
	$(BIN)/python -m benchmarks.fanout $(if $(JSON),--json $(JSON))

fault: $(VENV)/.dev $(PAGE) ## Break things while a conversation streams (ROUNDS=200 SEED=1 FRAMES=1000000)
	$(BIN)/python -m tests.fault.run --store embedded --rounds $(ROUNDS) --seed $(SEED)
	$(BIN)/python -m tests.fault.run --store redis --rounds $(ROUNDS) --seed $(SEED)
	$(BIN)/python -m tests.fault.agents --rounds $(ROUNDS) --seed $(SEED)
	$(BIN)/python -m tests.interop.fuzz --frames $(FRAMES) --seed $(SEED)
	THREE_NODES_ON=sentinel,cluster $(BIN)/python -m pytest tests/integration/test_three_nodes.py
	LONG=1 npm run e2e -- faults

build: $(VENV)/.dev $(PAGE) ## Build the page and the wheel (into dist/)
	rm -rf dist
	$(BIN)/python -m pip wheel . --no-deps --wheel-dir dist

screenshots: $(VENV)/.installed $(PAGE) ## Take the pictures of every page (docs/images)
	BIN=$(BIN) scripts/screenshots.sh docs/images

docs: $(VENV)/.installed ## Generate the pages that are made from the code
	$(BIN)/python -m parlour.config > docs/settings.md
	$(BIN)/python -m parlour.agents.diagram docs/agents.md

schema: $(VENV)/.installed node_modules/.installed ## Generate the clients' types from the wire's models
	$(BIN)/python -m parlour.wire.schema > sdk/src/generated/wire.schema.json
	node sdk/scripts/types.mjs

figures: $(VENV)/.installed $(PAGE) ## Measure the page: size, first token, back online (JSON=file)
	JSON=$(JSON) npm run --silent figures

constraints: $(VENV)/.dev ## Note the installed versions in constraints.txt
	$(BIN)/python scripts/constraints.py > constraints.new
	mv constraints.new constraints.txt

clean: ## Remove everything that was installed or built (not the data)
	rm -rf $(VENV) $(VENV)-litellm node_modules */node_modules */*/node_modules
	rm -rf sdk/dist dist build $(dir $(PAGE)) src/parlour/native/*.so
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# -- what is installed ------------------------------------------------------------------------------

$(VENV)/bin/pip:
	@scripts/check-tools.sh $(PYTHON)
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt hatch_build.py $(NATIVE) | $(VENV)/bin/pip
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt hatch_build.py $(NATIVE) | $(VENV)/bin/pip
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.installed

node_modules/.installed: package.json package-lock.json sdk/package.json web/package.json
	@scripts/check-tools.sh $(PYTHON)
	npm ci
	@touch $@

tests/interop/node_modules/.installed: $(wildcard tests/interop/package.json \
		tests/interop/package-lock.json)
	@mkdir -p $(dir $@)
	if [ -f tests/interop/package.json ]; then cd tests/interop && npm ci; fi
	@mkdir -p $(dir $@) && touch $@

$(PAGE): node_modules/.installed $(PAGE_SOURCES)
	npm run build
	@touch $@
