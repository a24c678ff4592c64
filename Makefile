# Every command a person or the CI runs. `make` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo check test lint types arch units tests coverage properties fuzz soak fmt bench docs pictures site lock clean

# Two workers a core: tests with real processes mostly wait.
WORKERS := $(shell echo $$((2 * $$(getconf _NPROCESSORS_ONLN))))
PYTEST := -m pytest --numprocesses=$(WORKERS) --dist=worksteal --durations=20 --durations-min=1

help: ## list the commands
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

demo: $(VENV)/.run ## simulated users, gateway and bridge; Ctrl-C ends it
	$(BIN)/crocbot demo

check: lint types arch units ## two minutes: lint, types, import contracts, unit and contract tests

test: lint types arch tests ## everything: lint, types, import contracts, all tests

lint: $(VENV)/.dev ## ruff, and the checks of prose, links and structure in tools/lint/
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/python -m tools.lint

types: $(VENV)/.dev
	$(BIN)/mypy

arch: $(VENV)/.dev
	$(BIN)/lint-imports

units: $(VENV)/.dev
	$(BIN)/python $(PYTEST) -m 'not (end_to_end or compose or bench)'

# 1 is a failed test: a few of them run again, alone.
tests: $(VENV)/.dev
	$(BIN)/python $(PYTEST) --cache-clear || { test $$? = 1 && $(BIN)/python -m tools.second_run; }

coverage: $(VENV)/.dev ## all tests, and the branches that they run; fails below the floor
	$(BIN)/coverage erase
	$(BIN)/coverage run $(PYTEST)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

properties: $(VENV)/.dev ## property tests with examples that are drawn anew; SEED=
	$(BIN)/python $(PYTEST) -m hypothesis --hypothesis-profile=random $(if $(SEED),--hypothesis-seed=$(SEED))

fuzz: $(VENV)/.dev ## random lines, rules and reloads through both paths; SECONDS=600, SEED=
	$(BIN)/python -m tests.statsd_bridge.fuzz --seconds $(or $(SECONDS),600) $(if $(SEED),--seed $(SEED) --show)

soak: $(VENV)/.dev ## all kinds of hostile clients at once against the bridge; SECONDS=600
	$(BIN)/python -m tests.end_to_end.soak --seconds $(or $(SECONDS),600)

site: $(VENV)/.dev ## the docs as a site in build/site, strict: no dead link, no orphan
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

fmt: $(VENV)/.dev ## format the code, fix what ruff can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev ## measure both programs beside others; see benchmarks/
	$(BIN)/python -m benchmarks.telemetry
	$(BIN)/python -m benchmarks.gateway
	$(BIN)/python -m benchmarks.gateway.drafts
	$(BIN)/python -m benchmarks

docs: $(VENV)/.dev ## write the generated files: mapping.yml and the tables of docs/
	$(BIN)/python -m tools.generated

pictures: $(VENV)/.dev ## take the pictures in docs/pictures/; needs chromium; GRAFANA=
	$(BIN)/python -m tests.end_to_end.web.pictures

# Locked for every Python that setup.cfg allows, each file with what dev.txt has.
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command 'make lock' pyproject.toml

lock: $(VENV)/.dev ## write locks/: the newest versions of all libraries, with their hashes
	$(LOCK) --upgrade --extra dev --output-file locks/dev.txt
	$(LOCK) --extra openai --extra postgres --extra socks --constraint locks/dev.txt --output-file locks/gateway.txt
	$(LOCK) --extra bridge --constraint locks/dev.txt --output-file locks/bridge.txt

clean: ## remove what the other commands create
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis \
	  .import_linter_cache .coverage .coverage.*

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is older than 3.11: try make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

# The libraries as they are locked, then the project itself, which needs setuptools.
$(VENV)/.run: $(VENV)/bin/python setup.cfg pyproject.toml locks/gateway.txt locks/bridge.txt
	$(BIN)/pip install --quiet --require-hashes --requirement locks/gateway.txt --requirement locks/bridge.txt
	$(BIN)/pip install --quiet --no-deps --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/bin/python setup.cfg pyproject.toml locks/dev.txt
	$(BIN)/pip install --quiet --require-hashes --requirement locks/dev.txt
	$(BIN)/pip install --quiet --no-deps --editable .
	@touch $@ $(VENV)/.run
