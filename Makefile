# make help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TOOLS := $(BIN)/pipeline-tools
LAB := $(or $(PIPELINE_TOOLS_LAB_DIR),$(HOME)/.cache/pipeline-tools/labs/default)
export PIPELINE_TOOLS_LAB_DIR := $(LAB)

.PHONY: help venv demo test test-alone test-unit test-groovy lint-groovy test-projects test-service lint generate lab-setup lab-up lab-down clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.installed: requirements/lock.txt setup.cfg pyproject.toml
	@echo "── Python environment (.venv): about 20 s"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed: set PYTHON=/path/to/python3.11"; exit 2; }
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --no-compile --requirement requirements/lock.txt
	@$(BIN)/pip install --quiet --no-deps --editable .
	@touch $@

venv: $(VENV)/.installed ## the Python environment with pinned versions

demo: venv ## from the data to production on this machine (first time about 12 min, later 4)
	@lab/demo

test: venv ## every test; brings the laboratory up and down (first time about 40 min, later 25)
	@lab/with-lab --meanwhile '$(MAKE) --no-print-directory test-alone' \
	  $(BIN)/pytest --numprocesses=3 --dist=loadgroup --no-loadscope-reorder tests/integration tests/e2e

test-alone: lint test-unit test-groovy test-projects test-service ## what needs no laboratory

test-unit: venv ## tests without processes or network
	@$(BIN)/pytest tests/unit

test-projects: ## types and tests of data and model, in environments of their own (about 4 min)
	@data/ejecutar.sh test-all
	@model/ejecutar.sh --test-all

test-groovy: venv lint-groovy ## tests of the Jenkins library, without a laboratory
	@mvn --batch-mode --quiet --file tests/groovy/pom.xml test

tests/groovy/node_modules/.package-lock.json: tests/groovy/package-lock.json
	@npm ci --silent --no-audit --no-fund --prefix tests/groovy
	@touch $@

lint-groovy: tests/groovy/node_modules/.package-lock.json ## style of the Jenkins library
	@tests/groovy/node_modules/.bin/npm-groovy-lint --path vars --files '**/*.groovy' --config $(CURDIR) \
	  --failon info --noserver

# The service has an environment of its own, kept by the content of what goes into it.
SERVICE = $(HOME)/.cache/pipeline-tools/environments/service-$(shell git ls-files -z service/requirements*.txt model data \
  | xargs -0 cat | sha256sum | cut -c1-16)

$(SERVICE)/.complete:
	@echo "── the service's environment, with the model: about 3 min"
	@rm -rf $(SERVICE) && $(PYTHON) -m venv $(SERVICE)
	@model/ejecutar.sh --export --out $(SERVICE)/wheels --version $$(sed -n 's/^clasificador-modelo==//p' service/requirements.txt)
	@sed "s/^clasificador-modelo==.*/& --hash=sha256:$$(sha256sum $(SERVICE)/wheels/*.whl | cut -c1-64)/" \
	  service/requirements.txt >$(SERVICE)/requirements.txt
	@$(SERVICE)/bin/pip install --quiet --find-links $(SERVICE)/wheels --requirement $(SERVICE)/requirements.txt
	@$(SERVICE)/bin/pip install --quiet --requirement service/requirements-dev.txt mypy==2.4.1
	@touch $@

test-service: $(SERVICE)/.complete ## every test of the bundled service: types, states, 10,000 hostile requests
	@cd service && $(SERVICE)/bin/mypy && HOSTILE_REQUESTS=10000 CONTRACT_EXAMPLES=60 $(SERVICE)/bin/python -m pytest -m "" --numprocesses=4 --dist=loadgroup

lint: venv ## style, types, generated files
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(TOOLS) generate --check

generate: venv ## the files that are made from the steps' declarations
	@$(TOOLS) generate

lab-setup: venv ## build or install the laboratory's parts (kept outside the checkout, by version)
	@$(TOOLS) lab setup

lab-up: venv ## start the laboratory
	@$(TOOLS) lab up

lab-down: venv ## stop it; data and builds stay
	@$(TOOLS) lab down

clean: ## remove what was made in the checkout
	@rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache tests/groovy/target tests/groovy/node_modules service/.pipeline data/.pipeline model/.pipeline data/salida model/salida model/dist
