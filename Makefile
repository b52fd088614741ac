# `make demo`, `make test` and `make check` set up the environment themselves.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup newest lock demo test check clean
setup: .venv/.done

.venv/.done: requirements.lock
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --progress-bar on --requirement requirements.lock
	touch $@

# the newest versions that pyproject.toml allows, in place of the locked ones: to try before `make lock`
newest:
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --progress-bar on --editable ".[dev]"
	touch .venv/.done

# renews requirements.lock, for every Python from 3.11 on and every platform; with hashes pip takes no other file
lock:
	$(PYTHON) -m venv .venv/lock
	.venv/lock/bin/python -m pip install --quiet --upgrade uv
	.venv/lock/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --extra dev --generate-hashes \
		--custom-compile-command "make lock" --output-file requirements.lock pyproject.toml

demo: setup
	$(BIN)/python -m pipelines demo demo

# on every core; what runs on Ray, which takes several itself, is one group
test: setup
	$(BIN)/python -m pytest --numprocesses auto --dist loadgroup

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/sqlfluff lint --disable-progress-bar -q queries

clean:
	rm -rf demo
