# Every target makes its own virtual environment and tools; nothing has to be activated or installed by hand.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
LOCAL := PYTHONPATH=deploy/local $(BIN)/python -m keywright_local

.PHONY: help
help: ## show this
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  CLUSTER=current  demo: use the current kube context instead of an embedded control plane"
	@echo "  CONSOLE=1        demo: start the key service and print its address and a token to sign in with"

$(STAMP): pyproject.toml requirements/dev.lock
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if v >= (3, 11) else "Python 3.11 or newer is needed: make PYTHON=python3.11 …")'
	@echo "installing into $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: venv
venv: $(STAMP) ## make the virtual environment (.venv/bin/keywright works then)

.PHONY: demo
demo: $(STAMP) ## the main job, told step by step on a real API server
	@$(BIN)/python deploy/demo/demo.py

.PHONY: test
test: check integration e2e ## everything

.PHONY: check
check: $(STAMP) ## fast: format, lint, types, imports, drift of generated files, the site's links, unit tests
	@$(BIN)/ruff format --check --quiet . || { echo "run: make fmt"; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy operator deploy tests docs
	@$(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports
	@$(MAKE) --no-print-directory crds-check openapi-check chart-check docs-check unit

.PHONY: unit
unit: $(STAMP) ## unit tests, in seconds
	@$(BIN)/pytest tests/unit --cov --cov-report=term-missing:skip-covered --cov-fail-under=100 -q

.PHONY: integration
integration: $(STAMP) ## tests on a real API server
	@$(BIN)/python -m tests.support.second_attempts tests/integration -q

.PHONY: e2e
e2e: $(STAMP) ## tests on real pods: on a node of its own (Linux, root), CLUSTER=kind, or CLUSTER=current
	@PYTHONPATH=deploy/local $(BIN)/python -m tests.e2e

.PHONY: bench
bench: $(STAMP) ## measure against the budgets: build/bench.json and build/bench.svg
	@$(BIN)/python -m tests.bench

.PHONY: crds
crds: $(STAMP) ## render the CRDs into crds/
	@$(BIN)/python -c 'from pathlib import Path; from keywright.api.crd import write; write(Path("crds"))'

.PHONY: crds-check
crds-check: $(STAMP)
	@mkdir -p build/crds && $(BIN)/python -c 'from pathlib import Path; from keywright.api.crd import write; write(Path("build/crds"))'
	@diff -ru -x Kustomization crds build/crds || { echo "crds/ has drifted from the models: run make crds"; exit 1; }

.PHONY: openapi
openapi: $(STAMP) ## write the OpenAPI document of the key service into docs/reference/
	@$(BIN)/python -c 'from keywright.console.rest.document import FILE, write; write(FILE)'

.PHONY: openapi-check
openapi-check: $(STAMP)
	@mkdir -p build && $(BIN)/python -c 'from pathlib import Path; from keywright.console.rest.document import write; write(Path("build/openapi.json"))'
	@diff -u docs/reference/openapi.json build/openapi.json || { echo "docs/reference/openapi.json has drifted: run make openapi"; exit 1; }

.PHONY: chart
chart: ## copy the CRDs, roles, policies and alerts into the Helm chart
	@deploy/chart/copy-files deploy/chart/keywright

.PHONY: chart-check
chart-check:
	@deploy/chart/copy-files build/chart
	@diff -ru deploy/chart/keywright/files build/chart/files || { echo "the chart's files have drifted: run make chart"; exit 1; }

.PHONY: docs
docs: docs-check ## build the site: build/site/index.html
	@echo build/site/index.html

# Broken links are errors. DOCS_REPOSITORY=https://… lets links to other files of the repository lead there.
.PHONY: docs-check
docs-check: $(STAMP)
	@$(BIN)/sphinx-build -q --fail-on-warning --fresh-env -d build/site-cache docs build/site

.PHONY: fmt
fmt: $(STAMP) ## format and fix what can be fixed
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format --quiet .

.PHONY: cluster-up
cluster-up: $(STAMP) ## start the embedded control plane and print its KUBECONFIG
	@$(LOCAL) up

.PHONY: cluster-down
cluster-down: $(STAMP) ## stop it
	@$(LOCAL) down

.PHONY: cluster-status
cluster-status: $(STAMP) ## is it up?
	@$(LOCAL) status

.PHONY: test-deps
test-deps: $(STAMP) ## install the programs that tests and benchmarks use (Debian's need root; Envoy goes into the cache)
	@PYTHON=$(BIN)/python deploy/local/install-test-deps

.PHONY: lock
lock: $(STAMP) ## pin and hash the dependencies anew
	@$(BIN)/python -m pip install --quiet uv
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-annotate --no-header --all-extras --group dev --group bench --group docs pyproject.toml -o requirements/dev.lock
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-annotate --no-header --group envoy -o requirements/envoy.lock
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-annotate --no-header --extra cli pyproject.toml -o requirements/cli.lock
	@echo kubernetes | $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --excludes - --no-annotate --no-header --extra operator --extra verifier --extra redis --extra grpc --extra console --group image \
	  --constraint requirements/dev.lock pyproject.toml -o requirements/image.lock

.PHONY: image
image: $(STAMP) ## build the image: IMAGE=keywright:dev, BASE=local where nothing can be pulled
	@PYTHONPATH=deploy/local $(BIN)/python deploy/image/build.py

.PHONY: clean
clean: ## remove what was built here (caches outside the project stay)
	@rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage operator/keywright.egg-info
