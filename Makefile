# Two commands: `make run` and `make test`. Each sets up .venv when it is missing or out of date.
# On Slurm: `make run PROFILE=slurm`. `make test-all` runs what takes too long for `make test`, with `make test-cluster`;
# `make studies` runs what takes too long for both.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CONFIG ?= config/config.yaml
# Where jobs run: one of workflow/profiles.
PROFILE ?= default
ARGS ?=
# Cores for `make run`, and processes for `make test`.
CORES ?= all
# Each file of tests goes to one process, which makes once what its tests share.
PYTEST := pytest -n 2 --dist loadfile --no-loadscope-reorder
# The percentage of lines that `make coverage` asks for; 94 were measured without whole runs and without real catalogs.
FLOOR := 93
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: run test test-all test-cluster studies coverage lint format docs figures benchmark check-speed lock clean
.DELETE_ON_ERROR:

run: $(VENV)/.run $(if $(filter slurm,$(PROFILE)),$(VENV)/.slurm)
	@. $(BIN)/activate && mixpipe run --config "$(CONFIG)" \
	  $(if $(filter default,$(PROFILE)),--cores $(CORES),--workflow-profile workflow/profiles/$(PROFILE)) $(ARGS)

# Style and types are checked beside the tests; what they say comes last.
test: $(VENV)/.dev
	@said=$$(mktemp); $(MAKE) --no-print-directory lint >$$said 2>&1 & lint=$$!; \
	  . $(BIN)/activate; $(PYTEST) $(ARGS); tests=$$?; \
	  wait $$lint; lint=$$?; cat $$said; rm $$said; exit $$((tests | lint))

# The campaigns, which `make test` leaves out, and then Slurm. `.ci/run` is `make test` and this.
test-all: $(VENV)/.dev
	@. $(BIN)/activate && $(PYTEST) -m 'campaign and not study' $(ARGS)
	@$(MAKE) --no-print-directory test-cluster

# Simulations and the longest runs, which both leave out: before a release, and after changes to the numerics.
studies: $(VENV)/.dev
	@. $(BIN)/activate && $(PYTEST) -m study $(ARGS)

# Lines that the tests reach in their own processes; those of jobs and of compiled functions are not seen.
coverage: $(VENV)/.dev
	@. $(BIN)/activate && $(PYTEST) --cov --cov-report=term:skip-covered --cov-fail-under=$(FLOOR) $(ARGS)

# A Slurm of its own is started for this, as root, and stopped. Without Slurm (apt-get install slurm-wlm) it is skipped.
test-cluster: $(VENV)/.dev $(VENV)/.slurm
	@. $(BIN)/activate && PATH="$$PATH:/usr/sbin:/sbin" MIXPIPE_TEST_CLUSTER=1 pytest tests/cluster $(ARGS)

lint: $(VENV)/.dev
	@. $(BIN)/activate && ruff check . && ruff format --check . && snakefmt --check workflow/Snakefile workflow/rules \
	  && mypy && lint-imports && snakemake --lint --configfile $(CONFIG)

format: $(VENV)/.dev
	@. $(BIN)/activate && ruff check --fix . && ruff format . && snakefmt workflow/Snakefile workflow/rules

docs: $(VENV)/.dev
	@. $(BIN)/activate && sphinx-build -q -W --keep-going -b html docs docs/_build $(ARGS)
	@echo "the manual: docs/_build/index.html"

# Every kind of figure for cases that are hard to draw, on one page; ARGS="narrow" draws those with this in their name.
figures: $(VENV)/.dev
	@. $(BIN)/activate && python -m tests.report.contact_sheet $(ARGS)

benchmark: .venv-benchmark/.ready
	@.venv-benchmark/bin/python -m benchmarks $(ARGS)

# Whether anything has become slower in units of what is measured in the same run; needs a quiet machine.
check-speed: .venv-benchmark/.ready
	@.venv-benchmark/bin/python -m benchmarks --check $(ARGS)

.venv-benchmark/.ready: PIP = .venv-benchmark/bin/python -m pip --disable-pip-version-check --quiet
.venv-benchmark/.ready: requirements/benchmark.txt requirements/build.txt pyproject.toml
	@$(PYTHON) -m venv .venv-benchmark
	@$(PIP) install --require-hashes -r requirements/benchmark.txt -r requirements/build.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

# New pins: hashes, no download addresses. Needs uv.
lock:
	uv pip compile -q pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-emit-find-links --no-annotate --no-header -o requirements/run.txt $(ARGS)
	uv pip compile -q pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-emit-find-links --no-annotate --no-header -o requirements/dev.txt $(ARGS)
	uv pip compile -q requirements/build.in --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-emit-find-links --no-annotate --no-header -o requirements/build.txt $(ARGS)
	uv pip compile -q pyproject.toml requirements/benchmark.in --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --no-annotate --no-header -o requirements/benchmark.txt $(ARGS)
	uv pip compile -q requirements/slurm.in --no-deps --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --no-annotate --no-header -o requirements/slurm.txt $(ARGS)
	uv pip compile -q pyproject.toml --extra dev --constraint requirements/oldest.in --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header -o requirements/oldest.txt $(ARGS)

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# The stamp of the development environment also serves `make run`.
$(VENV)/.run: requirements/run.txt requirements/build.txt pyproject.toml | $(VENV)/bin/python
	@echo "setting up $(VENV) (a few minutes the first time)"
	@$(PIP) install --require-hashes -r requirements/run.txt -r requirements/build.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements/dev.txt pyproject.toml | $(VENV)/bin/python
	@echo "setting up $(VENV) with the development tools (a few minutes the first time)"
	@$(PIP) install --require-hashes -r requirements/dev.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@ $(VENV)/.run

$(VENV)/.slurm: requirements/slurm.txt $(VENV)/.run
	@$(PIP) install --no-deps --require-hashes -r requirements/slurm.txt
	@touch $@

clean:
	rm -rf $(VENV) .venv-benchmark .snakemake docs/_build results/[!R]*
