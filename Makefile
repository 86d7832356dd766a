# `make demo` and `make test` set up what they need: Python 3.10 or newer and make are enough.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: setup dev demo test test-slow lint types bench mutants t5 clean

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

test: dev lint types   ## set up, then lint, type-check and test, a process for each core with one thread
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadgroup

test-slow: dev         ## the tests that take seconds each: kills and resumes, every key of the configs, PET step by step
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadgroup -m slow

lint: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: dev
	$(BIN)/mypy

bench: dev             ## the figures of docs/speed.md; BENCH_ARGS="--model DIR --data DIR" for your own
	$(BIN)/python scripts/bench.py $(BENCH_ARGS)

N ?= 200
mutants: dev           ## which small faults the tests notice: those of tests/mutants, and N at random; a night on two cores
	$(BIN)/pip install -q -c constraints.txt -e '.[mutants]'
	$(BIN)/python scripts/mutants.py $(N)

T5 = $(or $(PET_T5),$(HOME)/.cache/pet/t5-tiny)
MINUTES ?= 60
t5: setup              ## model=t5_tiny: a T5 of 5.6 million weights, pretrained once: make t5 CORPUS=FOLDER [MINUTES=60]
	@test -f $(T5)/model.safetensors && echo "$(T5) is there already." || { \
		test -n "$(CORPUS)" || { echo "make t5: a folder of text is needed, CORPUS=FOLDER." >&2; exit 2; }; \
		$(BIN)/python scripts/pretrain.py $(CORPUS) $(T5) --objective spans --layers 3 --decoder-layers 2 \
			--vocab-size 7168 --embeddings pet_cli/embedded/model --mask-rate 0.25 --span 2 --batch 16 \
			--minutes $(MINUTES) --store float16 --resume $(T5_ARGS); }

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
