# make demo   set up without PyTorch, then the main job on images that come with the project
# make test   set up with the test extras, then everything that is checked

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := pyproject.toml tests/constraints.txt

.PHONY: demo test lint clean

demo: $(VENV)/.demo
	$(BIN)/bsnn demo --out bsnn_demo.png --json bsnn_demo.json

test: $(VENV)/.test lint
	$(BIN)/python -m pytest

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(SOURCES) | $(BIN)/python
	$(BIN)/python -m pip install --quiet -e .
	touch $@

$(VENV)/.test: $(SOURCES) | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c tests/constraints.txt -e ".[test]"
	touch $@

clean:
	rm -rf $(VENV) bsnn_demo.png bsnn_demo.json
