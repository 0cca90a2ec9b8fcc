# `make run` and `make test` need Python 3.11 or later, git and make; everything else goes into .venv.

PYTHON ?= $(shell for python in python3.11 python3 python3.12 python3.13 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: run test lint bench options metrics clean

run: $(INSTALLED)
	$(BIN)/zdynamo local --nodes 3 --data data

test: $(INSTALLED)
	$(BIN)/pytest

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(INSTALLED)
	$(BIN)/zdynamo bench --ceiling

# configs/zdynamo.toml and docs/options.md, from zdynamo/config.py
options: $(INSTALLED)
	$(BIN)/python tools/options.py

# the table of docs/metrics.md and configs/grafana/zdynamo.json, from zdynamo/http/metrics.py and tools/metrics.py
metrics: $(INSTALLED)
	$(BIN)/python tools/metrics.py

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(INSTALLED): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "zdynamo needs Python 3.11 or later: install it, or run make PYTHON=/path/to/python" >&2; exit 1; }
	@echo "installing into $(VENV) with $(PYTHON)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@
