# One environment in .venv, then thin commands over `python -m helpers`.
PYTHON ?= python3
PY := .venv/bin/python
DATA_OPTION := $(if $(DATA),--data "$(DATA)")
PROFILE_OPTION := $(if $(PROFILE),--profile $(PROFILE))

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## */  make \1\t/' | expand -t 18

report: .venv/installed  ## run the notebooks in report/<data set>/ and render them [DATA=file.h5] [PROFILE=quick|colab|full]
	$(PY) -m helpers report $(DATA_OPTION) $(PROFILE_OPTION)

test: .venv/installed  ## run the tests
	OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist worksteal  # two processes of one thread do more than one of two

lint: .venv/installed  ## check style and formatting
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

notebooks: .venv/installed  ## refresh the committed notebooks and figures/standin in place
	$(PY) -m helpers report --in-place $(DATA_OPTION) $(PROFILE_OPTION)

lab: .venv/installed  ## open JupyterLab at the project's root
	$(PY) -m jupyter lab

clean:  ## delete reports and caches of tools; never data or runs
	rm -rf report .pytest_cache .ruff_cache
	find helpers tests benchmarks -name __pycache__ -prune -exec rm -rf {} +

install: .venv/installed  ## install into .venv

.venv/installed: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"Python 3.11 or newer is needed; $(PYTHON) is {v[0]}.{v[1]}. Try: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

.PHONY: help install report test lint notebooks lab clean
