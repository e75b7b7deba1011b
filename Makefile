# Every command of the project; `make help` lists them. For GNU make 3.81 (macOS) and later.

PROFILE ?= quick
JOBS ?=
CLUSTER ?=
ARGS ?=

# The first Python for which every locked package has a wheel, else python3.
WHEELS = import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
PYTHON ?= $(firstword $(foreach p,python3 python3.13 python3.12 python3.11,$(shell $(p) -c '$(WHEELS)' 2>/dev/null && echo $(p))) python3)

# What the caller's shell has set for other projects must not reach this one. Compiled modules are kept: without
# them every notebook's kernel would compile torch anew.
unexport PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE PYTHONOPTIMIZE PYTHONWARNINGS PYTHONIOENCODING PYTHONSAFEPATH
unexport VIRTUAL_ENV CONDA_PREFIX PIP_USER PIP_TARGET SNAKEMAKE_PROFILE MPLBACKEND
export PYTHONNOUSERSITE = 1
export PIP_DISABLE_PIP_VERSION_CHECK = 1
# A company's proxy has certificates of its own. pip finds them by itself; older versions of uv know the second name.
export UV_SYSTEM_CERTS = 1
export UV_NATIVE_TLS = 1
# Snakemake, uv and matplotlib need a cache, and a home may be read-only or missing.
export XDG_CACHE_HOME := $(shell c="$${XDG_CACHE_HOME:-$$HOME/.cache}"; \
  mkdir -p "$$c" 2>/dev/null && [ -w "$$c" ] && echo "$$c" || echo "$(CURDIR)/.cache")
export MPLCONFIGDIR ?= $(XDG_CACHE_HOME)/matplotlib
# Threads that wait leave their core to others: beside one busy process a training is several times as fast.
export OMP_WAIT_POLICY ?= PASSIVE
# Memory in large pages, where Linux gives them to who asks: networks run up to 1.4 times as fast. Others ignore it.
export GLIBC_TUNABLES ?= glibc.malloc.hugetlb=1

BIN = .venv/bin
UV_PIP = $(BIN)/python -m uv pip
NBSTRIPOUT = $(BIN)/python -m nbstripout --keep-id \
  --extra-keys "metadata.papermill cell.metadata.papermill cell.metadata.jupyter"
# Every profile has a book of its own. The fixed place shows the one asked for last, but never that of the smoke profile.
HTML = runs/$(PROFILE)/_build/html
SHOWN = $(if $(filter smoke,$(PROFILE)),$(HTML),book/_build/html)
export PROFILE HTML SHOWN  # recipes take them from there, as the shell would read what a name may hold

# Snakemake's own lock outlives a killed workflow; that of the Snakefile does not.
HERE = --cores all --keep-going --rerun-incomplete --nolock --quiet host rules

.PHONY: help book smoke test test-slow bench lab lint format lock clean distclean
.DEFAULT_GOAL := help

help: ## list these targets
	@echo "make TARGET [PROFILE=quick] [JOBS=2] [CLUSTER=slurm]    targets:"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' Makefile | awk -F'|' '{printf "%-12s%s\n", $$1, $$2}'

book: .venv/.stamp ## train, evaluate and build the book of PROFILE (one of params/), JOBS notebooks at a time, or on a CLUSTER
	@$(if $(CLUSTER),$(BIN)/python -c 'import snakemake_executor_plugin_$(CLUSTER)' 2>/dev/null || { \
	  echo "CLUSTER=$(CLUSTER) is slurm or kubernetes and needs the extra 'cluster': $(UV_PIP) install -c requirements.lock -e '.[cluster]'." >&2; \
	  exit 1; })
	@[ -e "$$HTML/index.html" ] || rm -f "runs/$$PROFILE/book.done"  # the mark of a book that is gone
	@$(BIN)/python -m snakemake $(if $(CLUSTER),--workflow-profile workflow/$(CLUSTER),$(HERE)) \
	  --config "profile='$$PROFILE'" $(if $(JOBS),jobs=$(JOBS))
	@[ "$$SHOWN" = "$$HTML" ] || { rm -rf "$$SHOWN" && mkdir -p "$$(dirname "$$SHOWN")" && \
	  { ln -s "../../$$HTML" "$$SHOWN" 2>/dev/null || cp -R "$$HTML" "$$SHOWN"; }; }
	@echo "$$PWD/$$SHOWN/index.html"

smoke: ## the same, tiny: every notebook and the book in a few minutes, below runs/smoke
	@$(MAKE) --no-print-directory book PROFILE=smoke

test: .venv/.stamp ## run the tests (ARGS="-k data" runs some)
	@$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder -m "not slow" $(ARGS)

test-slow: .venv/.stamp ## run the tests that are too slow for every day
	@$(BIN)/python -m pytest -m slow $(ARGS)

bench: .venv/.stamp ## time training, evaluation and coding against the published way (some minutes, on an idle machine)
	@$(BIN)/python benchmarks/throughput.py $(ARGS)
	@$(BIN)/python benchmarks/coding.py

lab: .venv/.stamp ## open the notebooks in JupyterLab
	@$(BIN)/python -m jupyterlab notebooks

lint: .venv/.stamp ## check style, and that notebooks hold no results
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(NBSTRIPOUT) --verify notebooks/*.ipynb

format: .venv/.stamp ## put style right and take results out of notebooks
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .
	$(NBSTRIPOUT) notebooks/*.ipynb

lock: .venv/.stamp ## renew requirements.lock after a change of pyproject.toml (ARGS=--upgrade takes newer versions)
	$(UV_PIP) compile --quiet --universal --python-version 3.11 --no-header --no-annotate \
	  --extra book --extra coding --extra processes --extra export --extra imagenet-sample --extra judges --extra dev $(ARGS) pyproject.toml -o requirements.lock

clean: ## delete runs, the built book and caches (not .venv, not data)
	rm -rf runs book/_build build dist ra_core.egg-info .snakemake .cache .ruff_cache .hypothesis
	find ra_core ra_book workflow tests notebooks -name __pycache__ -prune -exec rm -rf {} +

distclean: clean ## delete .venv as well
	rm -rf .venv

.venv/.stamp: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Python 3.11 or newer is needed and '$(PYTHON)' is none: install it, or name it with make PYTHON=/path/to/python3." >&2; \
	  exit 1; }
	@$(BIN)/python -c 'import pip' 2>/dev/null || $(PYTHON) -m venv --clear .venv || { \
	  rm -rf .venv; \
	  echo "'$(PYTHON) -m venv' failed: install the venv module of that Python (Debian: python3-venv), or name another with make PYTHON=/path/to/python3." >&2; \
	  exit 1; }
	@echo "Setting up .venv: one to three minutes, 6 GB."
	@$(BIN)/python -m pip install --quiet uv
	@$(UV_PIP) install --python .venv --no-deps -r requirements.lock
	@$(UV_PIP) install --python .venv --no-deps -e .
	@touch $@
