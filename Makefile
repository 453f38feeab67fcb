# Everything a developer or an operator types. `make` alone lists it.
SHELL := /bin/sh
.DEFAULT_GOAL := help
VENV := .venv
PYTHON := $(VENV)/bin/python
export UV_PYTHON_DOWNLOADS := never
# Found on the PATH, or put into the virtual environment at this version and hash.
UV_PIN := tools/uv.lock
BASE := $(VENV)/.base
DEV := $(VENV)/.dev

# Tests that run beside each other; one Redis database, which tests empty, serves only one.
JOBS := $(if $(MOEGATE_TEST_REDIS_URL),1,2)
BESIDE = $(if $(filter-out 1,$(JOBS)),-n $(JOBS) --dist worksteal)

.PHONY: help setup run test test-full lint bench lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(BASE) ## put moegate and what it needs into .venv

run: $(BASE) ## run the gateway on 127.0.0.1:8080 with its embedded defaults
	@exec $(VENV)/bin/moegate serve

test: $(DEV) ## all tests but the slow ones, with real PostgreSQL and Redis-protocol servers
	$(PYTHON) -m pytest -q -rs $(BESIDE)

test-full: $(DEV) ## the slow tests: real SGLang on the CPU, the container stack
	$(PYTHON) -m pytest -q -rs -m full

lint: $(DEV) ## format, rules, types, import directions, sizes
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/lint-imports --no-cache
	$(PYTHON) tools/check_sizes.py
	$(VENV)/bin/basedpyright

bench: $(DEV) ## CPU per request beside the peers; prints the README's table
	$(PYTHON) -m tests.bench $(ARGS)

lock: $(DEV) ## resolve both lock files anew from pyproject.toml
	sh tools/lock.sh

clean: ## remove what the targets above made
	rm -rf $(VENV) .venv-sglang .bench .pytest_cache .ruff_cache .hypothesis build dist
	find gateway backends policies migrations tests tools -name __pycache__ -type d -prune -exec rm -rf {} +

$(PYTHON):
	@sh tools/make_venv.sh $(VENV)

# The base lock alone: what `make run` needs. Where the tools are installed too, they stay and follow their lock.
$(BASE): requirements.lock requirements-dev.lock pyproject.toml $(UV_PIN) | $(PYTHON)
	@if [ -f $(DEV) ]; then lock=requirements-dev.lock; else lock=requirements.lock; fi; \
	    sh tools/install.sh $(VENV) $$lock && if [ -f $(DEV) ]; then touch $(DEV); fi
	@touch $@

$(DEV): requirements-dev.lock requirements.lock pyproject.toml $(UV_PIN) | $(PYTHON)
	@sh tools/install.sh $(VENV) requirements-dev.lock
	@touch $(BASE)
	@touch $@
