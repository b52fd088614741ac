# `make demo`, `make test` and `make check` set up the environment themselves.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup newest lock landmarks demo test test-fast test-faults test-e2e test-unit test-queries test-files test-browser mutants check clean
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

# a face mesh of 468 points for `judge` (MediaPipe, Apache-2.0): one file of 1.2 MB out of a wheel of 36 MB
MESH := landmarks/face_landmark.tflite
landmarks: $(MESH)
$(MESH): | setup
	mkdir -p landmarks
	printf 'mediapipe==0.10.14 --hash=sha256:%s\n' \
		a807328339e7356fda0bb14df12fedbf1d33bdf81649c5f8666b0026b1cc30b4 > landmarks/wheel.txt
	$(BIN)/python -m pip download --no-deps --only-binary=:all: --python-version 3.11 \
		--platform manylinux_2_17_x86_64 --require-hashes --requirement landmarks/wheel.txt --dest landmarks
	$(BIN)/python -c "import glob, zipfile; wheel = zipfile.ZipFile(glob.glob('landmarks/mediapipe-*.whl')[0]); \
		open('$(MESH).part', 'wb').write(wheel.read('mediapipe/modules/face_landmark/face_landmark.tflite'))"
	mv $(MESH).part $(MESH)
	rm landmarks/mediapipe-*.whl landmarks/wheel.txt

demo: setup
	$(BIN)/python -m pipelines demo demo

# four at a time: what needs Ray, which takes longest and goes first, and what does not, with the one thread that its
# small networks are fastest with
test: setup
	$(MAKE) --no-print-directory --jobs 4 test-e2e test-unit test-queries test-files test-browser

# for every edit
test-fast: setup
	$(MAKE) --no-print-directory --jobs 3 test-unit test-queries test-files

# what kills processes, has a store fail and reads broken files: four tests that take as long as the others end to end
test-faults: setup
	$(BIN)/python -m pytest tests/e2e -m faults

test-e2e: setup
	$(BIN)/python -m pytest tests/e2e -m "not faults"

test-unit: setup
	OMP_NUM_THREADS=1 nice $(BIN)/python -m pytest tests/unit tests/gpu

test-queries: setup
	OMP_NUM_THREADS=1 nice $(BIN)/python -m pytest tests/queries -m "not browser"

# of files, frames and stores: waits for the processes that decode and for a server, which leaves the processors to the
# others
test-files: setup
	OMP_NUM_THREADS=1 nice $(BIN)/python -m pytest tests/files

# of pages in Chromium; skipped where there is none
test-browser: setup
	nice $(BIN)/python -m pytest tests/queries -m browser

# careless changes, one at a time: which does no test notice (docs/testing.md); an hour
mutants: setup
	rm -f bench/reach.json
	$(BIN)/python bench/mutants.py reach
	$(BIN)/python bench/mutants.py named
	$(BIN)/python bench/mutants.py sampled

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/sqlfluff lint --disable-progress-bar -q queries

clean:
	rm -rf demo
