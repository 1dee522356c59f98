# make test    everything the project promises, on 2 cores
# make check   style only
# make compat  every open_clip release × route: trains, evaluates, alike? (fetches their wheels into build/compat)
# make demo    the whole way on an embedded data set: convert, keywords, train, evaluate
# Each makes its own .venv; PYTHON chooses the interpreter it is made with.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed

.PHONY: test check compat demo bench clean

$(STAMP): pyproject.toml setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $(STAMP)

test: check
	$(BIN)/python -m pytest -n 2 -q

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

compat: $(STAMP)
	$(BIN)/python tests/compat.py $(VERSIONS)

demo: $(STAMP)
	$(BIN)/sclip demo --out build/demo

clean:
	rm -rf $(VENV) build *.egg-info
