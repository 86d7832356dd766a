# `make demo` and `make test` set up what they need: Python 3.10 or newer and make are enough.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: setup dev demo test lint types bench clean

setup: $(VENV)/.installed
dev: $(VENV)/.installed-dev

$(BIN)/pip:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/pip
	$(BIN)/pip install -q -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/pip install -q -c constraints.txt -e '.[dev]'
	@touch $@

demo: setup            ## set up, then train and evaluate on the embedded model and task, without a network
	$(BIN)/pet train

test: dev lint types   ## set up, then lint, type-check and test
	$(BIN)/python -m pytest

lint: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: dev
	$(BIN)/mypy

bench: dev             ## the figures of README's "Fast" section; BENCH_ARGS="--model DIR --data DIR" for your own
	$(BIN)/python scripts/bench.py $(BENCH_ARGS)

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
