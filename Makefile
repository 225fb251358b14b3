# Two commands matter: `make quickstart` shows the main job on real photographs, `make test` proves the whole.
SHELL := bash
VENV ?= .venv
export VENV
BIN := $(VENV)/bin
JOBS ?= 2
# One thread a test process: two processes of two threads each on two cores wait for each other most of the time.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest

.PHONY: help setup quickstart check lint types test test-full bench parity docs clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 14

setup:  ## make .venv with the tested set
	@scripts/setup

quickstart: setup  ## real photographs in, a verified bundle, predictions and a report out
	@scripts/quickstart

lint: setup
	$(BIN)/ruff format --check src tests benchmarks examples
	$(BIN)/ruff check src tests benchmarks examples
	$(BIN)/lint-imports

types: setup
	$(BIN)/mypy

check: lint types  ## format, lint, types and the quick unit tests (about a minute with a warm cache)
	$(PYTEST) tests/unit -m "not slow and not full" -n $(JOBS)

test: lint types  ## everything but the exhaustive presets: unit, contract, e2e
	$(PYTEST) tests -m "not full" -n $(JOBS) --durations=15

test-full: lint types  ## every preset of every network too
	$(PYTEST) tests -n $(JOBS) --durations=30

bench: setup  ## the benchmarks, one after another; results are printed, and kept in benchmarks/results/
	$(BIN)/python benchmarks/run_all.py

parity: setup  ## DIR=FOLDER of parity files: our networks against the numbers of the published ones
	@test -n "$(DIR)" || { echo "error: make parity needs a folder of parity files, as in: make parity DIR=../shared/parity" >&2; exit 2; }
	@OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} PYTHONPATH=tests $(BIN)/python -m parity "$(DIR)"

docs: setup  ## the documentation site in site/
	$(BIN)/python scripts/docs_reference.py
	$(BIN)/mkdocs build --strict --quiet
	@echo "docs: site/index.html"

clean:  ## remove what was built, not your runs
	rm -rf build dist site .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
