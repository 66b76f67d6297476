# `make help` lists the targets. Set PYTHON to choose another interpreter (3.11 or newer).
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
# Extra arguments for pip, e.g. PIP_ARGS="--extra-index-url URL" to take smaller CPU builds of torch.
PIP_ARGS ?=

.DEFAULT_GOAL := help
# A pre-split .npz with pairs in time order, `test` before `valid`: HDRM's own ML-1M split.
SPLIT ?= data/ml-1m-diffrec-clean.npz
# A model store to serve from.
MODELS ?= models

.PHONY: help install demo test test-compose bench bench-accuracy bench-retraining bench-training check format ci clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The stamp is newer than the files that name the dependencies, so an unchanged environment costs nothing.
$(VENV)/.runtime: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -q $(PIP_ARGS) -c constraints.txt -e '.[serve,train]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -q $(PIP_ARGS) -c constraints.txt -e '.[dev]'
	@touch $(VENV)/.runtime $@

install: $(VENV)/.dev ## virtual environment with everything for development

demo: $(VENV)/.runtime ## install, fetch MovieLens 100K, train, serve on 127.0.0.1:8000
	@$(BIN)/hdrm demo

test: $(VENV)/.dev ## all tests that need nothing installed beside, with coverage
	$(BIN)/python -m pytest -n auto --dist loadfile --max-worker-restart 0 --cov --cov-report=term $(PYTEST_ARGS)

test-compose: $(VENV)/.dev ## the compose file, on a real Docker Engine
	$(BIN)/python docker/test_compose.py

$(SPLIT):
	@echo "error: $(SPLIT) is not there" >&2
	@echo "next: make bench-accuracy SPLIT=FILE, an .npz with int arrays train, valid and test of (user, item) pairs" >&2
	@exit 1

bench-accuracy: $(VENV)/.dev $(SPLIT) ## presets, baselines and ablations on SPLIT; writes docs/accuracy*.md
	$(BIN)/hdrm benchmark accuracy --split $(SPLIT) --order chronological --live test:valid --ablations \
	  --json docs/accuracy.json --markdown docs/accuracy.md
	$(BIN)/hdrm benchmark accuracy --split $(SPLIT) --order none --models default,ease,ials,popularity \
	  --json docs/accuracy-unordered.json --markdown docs/accuracy-unordered.md

bench-training: $(VENV)/.dev $(SPLIT) ## growth of training, and its seconds to a recall on SPLIT; writes docs/training.json
	$(BIN)/hdrm benchmark training --interactions 1e5,1e6,1e7 --split $(SPLIT) --order chronological --json docs/training.json

bench-retraining: $(VENV)/.dev $(SPLIT) ## a simulated fortnight with a training every night, on SPLIT; writes docs/retraining.md
	$(BIN)/hdrm benchmark fortnight --split $(SPLIT) --live test:valid --json docs/fortnight.json \
	  --plot docs/retraining.svg --markdown docs/retraining.md --resume

bench: $(VENV)/.dev ## serving of the model in MODELS beside a no-op, growth, events, swaps, killed retrainings, inference, retrieval; needs wrk; writes docs/performance.md
	$(BIN)/hdrm benchmark serving --models $(MODELS) --seconds 5 --rounds 5 --soak 10 --json docs/serving.json
	$(BIN)/hdrm benchmark growth --json docs/serving-growth.json
	$(BIN)/hdrm benchmark events --models $(MODELS) --json docs/events.json
	$(BIN)/hdrm benchmark swaps --models $(MODELS) --json docs/swaps.json
	$(BIN)/hdrm benchmark kills --json docs/kills.json
	$(BIN)/hdrm benchmark inference --json docs/inference.json
	$(BIN)/hdrm benchmark retrieval --items 1000000 --json docs/retrieval.json
	$(BIN)/hdrm benchmark page docs --out docs/performance.md

check: $(VENV)/.dev ## format, lint, types, import layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev ## format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

ci: check test ## what has to pass before a change lands

clean: ## remove the environment, caches and the demo's files
	rm -rf $(VENV) demo build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage*
