# Everything installs what it needs: `make up` and `make test` work on a machine that has Python 3.11 and make.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
PYTHON ?= python3
BIN := .venv/bin
export LC_ALL := C.UTF-8
# What bash reads before each line below. The rest of the shell's settings is sorted out by slipway/environment.py.
unexport BASH_ENV ENV SHELLOPTS BASHOPTS CDPATH GREP_OPTIONS
OURS = $(PYTHON) -I slipway/environment.py
# pip compiles one file after the other, and all of the 100 collections; compileall uses every core, for those used here.
INSTALL = $(OURS) --pip $(BIN)/python install --quiet --disable-pip-version-check --no-compile --require-hashes --requirement
COMPILE = $(OURS) $(BIN)/python -m compileall -q -j 0 -x 'ansible_collections/(?!(amazon/aws|ansible/posix|community/(docker|crypto|library_inventory_filtering_v1))/)' .venv/lib >/dev/null || [ $$? -eq 1 ]

.PHONY: help up status open destroy test lint molecule bench chaos lock prices pictures tables clean .venv

help: ## show this list
	@grep -E '^[a-z.]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

up: .venv ## from nothing to Jupyter's URL
	@$(OURS) $(BIN)/python orchestrate.py up

status open destroy: .venv ## as `python orchestrate.py …`
	@$(OURS) $(BIN)/python orchestrate.py $@

.venv: .venv/.runtime ## the Python environment

.venv/.runtime: requirements.lock
	@echo "making the Python environment (.venv)"
	@tools/python-with-venv $(OURS) $(PYTHON) -m venv --clear .venv
	@$(INSTALL) requirements.lock
	@$(COMPILE)
	@touch $@

.venv/.dev: .venv/.runtime requirements-dev.lock
	@echo "adding the tools of developers and tests"
	@$(INSTALL) requirements-dev.lock
	@$(COMPILE)
	@touch $@

test: .venv/.dev ## linters and tests, but the long ones; TESTS=tests for all, TESTS=tests/unit for some
	@$(BIN)/python -m pytest --numprocesses 3 --dist loadgroup --no-loadscope-reorder --durations 60 --durations-min 10 $(or $(TESTS),-m "not long")

lint: .venv/.dev ## ansible-lint (production), yamllint, ruff, mypy
	@tools/lint

molecule: .venv/.dev ## role tests on hosts of the lab; SCENARIO=docker for one
	@$(BIN)/python -m lab up
	@PATH="$(CURDIR)/$(BIN):$$PATH" molecule --base-config .config/molecule/config.yml test $(if $(SCENARIO),--scenario-name $(SCENARIO),--all)

bench: .venv/.dev ## timings of a machine that is up, as ratios
	@$(BIN)/python bench/commands.py
	@$(BIN)/python bench/resize.py
	@$(BIN)/python bench/queue_of_jobs.py
	@$(BIN)/python bench/new_machine.py

chaos: .venv/.dev ## a resize, ended at 12 points by 4 signals, two at a time; CHAOS=5 for every fifth
	@$(BIN)/python tools/chaos

lock: .venv/.dev ## write the lock files anew
	@for extra in "" dev; do \
	  $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate \
	    $${extra:+--extra $$extra --constraint requirements.lock} pyproject.toml --output-file requirements$${extra:+-$$extra}.lock; \
	done

prices: .venv ## write the table of AWS's prices anew (needs credentials); REGIONS="eu-west-1 …" for some
	@$(BIN)/python tools/prices $(REGIONS)

pictures: .venv ## the examples' pictures, from runs on the lab and a real browser; EXAMPLES="adult" for some
	@$(BIN)/python tools/pictures $(EXAMPLES)

tables: .venv ## docs/memory.md's tables and the README's figure, by `measure` on a machine that is up
	@$(BIN)/python tools/tables

clean: ## remove the environment and caches; machines and their secrets stay
	@rm -rf .venv .ansible .durations .mypy_cache .ruff_cache .pytest_cache
