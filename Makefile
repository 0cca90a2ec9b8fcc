# `make run` and `make test` need Python 3.11 or later, git and make; everything else goes into .venv.

PYTHON ?= $(shell for python in python3.11 python3 python3.12 python3.13 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DOCS_INSTALLED := $(VENV)/.docs-installed

.PHONY: run test lint bench docs options metrics protocol clean

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

# site/, from docs/ and mkdocs.yml; fails if a link or an anchor leads nowhere
docs: $(DOCS_INSTALLED)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "the documentation is in site/index.html"

# configs/zdynamo.toml and docs/options.md, from zdynamo/config.py
options: $(INSTALLED)
	$(BIN)/python tools/options.py

# the table of docs/metrics.md and configs/grafana/zdynamo.json, from zdynamo/http/metrics.py and tools/metrics.py
metrics: $(INSTALLED)
	$(BIN)/python tools/metrics.py

# docs/vectors.json and the tables of docs/protocol.md, from zdynamo/messages.py and tools/protocol.py
protocol: $(INSTALLED)
	$(BIN)/python tools/protocol.py

clean:
	rm -rf $(VENV) site .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(INSTALLED): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "zdynamo needs Python 3.11 or later: install it, or run make PYTHON=/path/to/python" >&2; exit 1; }
	@echo "installing into $(VENV) with $(PYTHON)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

$(DOCS_INSTALLED): $(INSTALLED)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@touch $@
