# The two commands to know: `make demo` and `make test`. Each sets up what it needs, once, from a bare Python 3.11 or 3.12.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV ?= .venv
BIN := $(VENV)/bin
SAMPLE := sample_notes/prolotherapy_template.txt
# A name on the PATH may be a stub that does not run: each is tried. PYTHON=... asks for one.
PYTHON ?= $(firstword $(foreach name,python3.12 python3.11 python3,$(if $(shell \
  $(name) -c 'import sys; print((3, 11) <= sys.version_info[:2] <= (3, 12) or "")' 2>/dev/null),$(name))))
# From the lock file: other packages, versions or files than those it names are refused.
INSTALLED := $(VENV)/.installed

.PHONY: help demo test lint samples icd10cm models accuracy bench wheel lock clean

help:
	@echo 'make demo      set everything up and check a sample note'
	@echo 'make test      set everything up and run the tests'
	@echo 'make lint      ruff, mypy and import-linter'
	@echo 'make samples   write the reports in sample_notes/, the README and docs/configuration.md again'
	@echo 'make screenshots   take the pictures in docs/ again (needs Chromium)'
	@echo 'make icd10cm   compile the code set again from the official tabular'
	@echo 'make models    build the list of diseases in models/ again from the code set'
	@echo 'make accuracy  measure accuracy on the labelled notes and write benchmarks/accuracy.md'
	@echo 'make bench     measure start-up and speed'
	@echo 'make wheel     build the wheel into dist/'
	@echo 'make lock      resolve the dependencies again for the Python in use (PYTHON=python3.11)'
	@echo 'make clean     remove what these made'

# Exit code 1 means that the note has gaps, which is what a demo should show.
demo: $(INSTALLED)
	@echo '$$ $(BIN)/notegap check $(SAMPLE) --code M24.28'
	@$(BIN)/notegap check $(SAMPLE) --code M24.28 || test $$? -eq 1

test: $(INSTALLED)
	$(BIN)/python -m pytest -n 2 --dist loadgroup

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

samples: $(INSTALLED)
	FIX_GOLDEN=1 $(BIN)/python -m pytest tests/test_samples.py tests/test_docs.py tests/test_config.py

screenshots: $(INSTALLED)
	PYTHONPATH=tests $(BIN)/python docs/screenshots.py

icd10cm: $(INSTALLED)
	$(BIN)/python -m notegap.icd10cm.compile

models: $(INSTALLED)
	$(BIN)/python -m notegap.knowledge.diseases

accuracy: $(INSTALLED)
	$(BIN)/python benchmarks/accuracy.py --write

bench: $(INSTALLED)
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/speed.py
	PYTHONPATH=tests $(BIN)/python benchmarks/page.py
	$(BIN)/python benchmarks/service.py

wheel: $(INSTALLED)
	rm -rf dist
	$(BIN)/python -m build --no-isolation --wheel --outdir dist

# Without the machine's own pip settings, so that no address of it gets into the file.
lock: python-found
	rm -rf build/lock && $(PYTHON) -m venv build/lock
	build/lock/bin/pip install --quiet pip-tools
	PIP_CONFIG_FILE=/dev/null PIP_FIND_LINKS= CUSTOM_COMPILE_COMMAND='make lock' build/lock/bin/pip-compile --quiet \
	  --extra dev --extra serve --extra formats --extra audit --extra spark --strip-extras --allow-unsafe --generate-hashes \
	  --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --upgrade \
	  --output-file "locks/python$$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])').txt" pyproject.toml
	rm -rf build/lock

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

.PHONY: python-found
python-found:
	@test -n '$(PYTHON)' || { echo 'notegap needs Python 3.11 or 3.12, and neither python3.12, python3.11 nor python3 on' \
	  'the PATH is one. Install one, or say where it is: make $(or $(firstword $(MAKECMDGOALS)),demo) PYTHON=/path/to/python3.12' >&2; exit 1; }

$(BIN)/python: | python-found
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' || \
	  { echo 'notegap needs Python 3.11 or 3.12; $(PYTHON) is another.' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo '$(PYTHON) cannot make virtual environments: install its venv package (on Debian: python3-venv).' >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(INSTALLED): pyproject.toml $(wildcard locks/*.txt) | $(BIN)/python
	@echo 'Installing the locked dependencies into $(VENV); the first time takes a minute or two.'
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes \
	  -r "locks/python$$($(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])').txt"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
