# `make demo` and `make test` set up the environment themselves.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup demo test check clean
setup: .venv/.done

.venv/.done: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --progress-bar on -e ".[dev]"
	touch $@

demo: setup
	$(BIN)/python -m pipelines demo demo

test: setup
	$(BIN)/python -m pytest

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/sqlfluff lint --disable-progress-bar -q queries

clean:
	rm -rf demo
