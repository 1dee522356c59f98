# make test    everything the project promises, on 2 cores
# make check   style, types and the directions of imports
# make types   types only
# make compat  every open_clip release × route: trains, evaluates, alike? (fetches their wheels into build/compat)
# make demo    the whole way on embedded emoji: convert, keywords, train, evaluate, a picture
# make fuzz    2,000 tries with broken input of every kind: a table, and each failure with its seed (SEED=7 TRIES=500 choose)
# make bench   all benchmarks, side by side with stock open_clip, some seven minutes on an idle machine; figures in build/bench
# Each makes its own .venv; PYTHON chooses the interpreter it is made with.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed

.PHONY: test check types compat demo fuzz bench clean

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $(STAMP)

test: check
	$(BIN)/python -m pytest -n 2 -q

check: $(STAMP) types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo

types: $(STAMP)
	$(BIN)/mypy

compat: $(STAMP)
	$(BIN)/python -m tests.compat $(VERSIONS)

demo: $(STAMP)
	$(BIN)/sclip demo --out build/demo

fuzz: $(STAMP)
	$(BIN)/python -m tests.faults --tries $(or $(TRIES),2000) $(if $(SEED),--seed $(SEED))

# the step at half the size of benchmarks/README.md's table, shards at a quarter
bench: export OMP_NUM_THREADS = 1
bench: $(STAMP)
	mkdir -p build/bench
	$(BIN)/python benchmarks/loss.py --json build/bench/loss.json
	$(BIN)/python benchmarks/step.py --pairs 32 --unpaired 32 --keywords 100 --json build/bench/step.json
	$(BIN)/python benchmarks/loader.py --json build/bench/loader.json
	$(BIN)/python benchmarks/keywords.py --json build/bench/keywords.json
	$(BIN)/python benchmarks/shards.py --images 5000 --json build/bench/shards.json
	$(BIN)/python benchmarks/engines.py --images 20000 --json build/bench/engines.json
	$(BIN)/python benchmarks/startup.py --json build/bench/startup.json
	$(BIN)/python benchmarks/memory.py --json build/bench/memory.json

clean:
	rm -rf $(VENV) build *.egg-info
