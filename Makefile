# Needs Python 3.11 or newer (with its venv module) and make; everything else is installed into .venv.
# Another Python: make test PYTHON=python3.12

PYTHON ?= python3
DEMO = $(BIN)/neocog train lenet5 mnist --epochs 12 --lr 0.0025 --augment shift=1 --weight-decay 0
# Two processes share the tests, each with a thread: what waits for a second one would keep the other process waiting.
TESTS = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

BIN := .venv/bin
READY := .venv/ready
BENCH_BIN := .bench-venv/bin
BENCH_READY := .bench-venv/ready

.PHONY: help demo test test-all lint docs bench-env bench clean

help:
	@echo "make demo       train LeNet-5 on the 60,000 handwritten digits and read the 10,000 test digits"
	@echo "make test       the tests, without those marked slow"
	@echo "make test-all   every test"
	@echo "make lint       ruff (rules, layout) and mypy --strict"
	@echo "make docs       write docs/layers/ from the layers' own files"
	@echo "make bench      measure against other libraries (bench-env installs those): some 25 minutes"
	@echo "make clean      remove the environments and caches; runs/ stays"

demo: $(READY)
	@$(DEMO)

test: $(READY)
	@$(TESTS) -m "not slow"

test-all: $(READY)
	@$(TESTS)

lint: $(READY)
	@echo "ruff check";    $(BIN)/ruff check --quiet
	@echo "ruff format";   $(BIN)/ruff format --check --quiet
	@echo "mypy --strict"; $(BIN)/mypy --no-error-summary

docs: $(READY)
	@echo "writing docs/layers"
	@$(BIN)/python docs/build.py

# One environment, made once; made up to date when pyproject.toml or constraints.txt change.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "neocog needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1)"; \
		echo "name another: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) has no venv module; on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@echo "setting up the environment in .venv: about a minute where a CPU build of torch is at hand, else several"
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

bench-env: $(READY) $(BENCH_READY)

bench: bench-env
	@$(BIN)/python bench/refusals.py
	@$(BIN)/python bench/planning.py
	@$(BIN)/python bench/speed.py

$(BENCH_READY): bench/requirements.txt constraints.txt
	@echo "setting up the other libraries in .bench-venv"
	@$(PYTHON) -m venv --clear .bench-venv
	@$(BENCH_BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -r bench/requirements.txt
	@touch $@

clean:
	rm -rf .venv .bench-venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find neocog tests docs -name __pycache__ -type d -prune -exec rm -rf {} +
