# make demo      set up without PyTorch, then the main job on images that come with the project
# make test      set up with the test extras, then what guards every change
# make test-all  the same, and what takes long by nature: deep proofs, every network on every target

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := pyproject.toml tests/constraints.txt
# Brian2CUDA needs a Brian2 of its own
VENV_CUDA := .venv-cuda

# tests marked as long are left out
MARKED := -m "not long"
EXAMPLES := quick
HARDWARE_TEST := test
test-all: MARKED := -m ""
test-all: EXAMPLES := long
test-all: HARDWARE_TEST := test-all

# tests run in a process for each core, whose libraries need no threads besides
test test-all test-cuda: export OMP_NUM_THREADS := 1
test test-all test-cuda: export OPENBLAS_NUM_THREADS := 1

.PHONY: demo test test-all test-cuda test-hardware lint clean

demo: $(VENV)/.demo
	$(BIN)/bsnn demo --out bsnn_demo.png --json bsnn_demo.json

test: $(VENV)/.test lint test-cuda test-hardware
	$(BIN)/python -m pytest $(MARKED) --hypothesis-profile $(EXAMPLES) -n auto --dist worksteal

test-all: test

test-cuda: $(VENV_CUDA)/.test
	$(VENV_CUDA)/bin/python -m pytest $(MARKED) -n auto --dist loadfile -rs tests/cuda \
	  --confcutdir=tests/cuda --ignore tests/cuda/test_cuda_configuration.py

# makes an environment of its own, too
test-hardware:
	$(MAKE) -C hardware $(HARDWARE_TEST) PYTHON3=$(PYTHON)

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(SOURCES) | $(BIN)/python
	$(BIN)/python -m pip install --quiet -e .
	touch $@

$(VENV)/.test: $(SOURCES) | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c tests/constraints.txt -e ".[test]"
	touch $@

$(VENV_CUDA)/bin/python:
	$(PYTHON) -m venv $(VENV_CUDA)

$(VENV_CUDA)/.test: pyproject.toml tests/cuda/constraints.txt | $(VENV_CUDA)/bin/python
	$(VENV_CUDA)/bin/python -m pip install --quiet -c tests/cuda/constraints.txt -e ".[cuda]" \
	  pytest pytest-xdist
	touch $@

clean:
	$(MAKE) -C hardware clean
	rm -rf hardware/.venv $(VENV) $(VENV_CUDA) bsnn_demo.png bsnn_demo.json
