# Two commands do everything: `make run` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Many tests wait for devices, sockets and browsers: more workers than cores.
WORKERS ?= 2
# meson-python rebuilds at import; it finds meson and ninja on PATH.
export PATH := $(abspath $(BIN)):$(PATH)

.PHONY: run test set-up lint types bench schemas campaign soak deb clean
.DEFAULT_GOAL := help

help:
	@echo "make run    set up, start the daemon on the simulated probe, open http://127.0.0.1:5580"
	@echo "make test   set up, pass the whole suite (ruff and mypy included)"
	@echo "make deb    a Debian package with everything in it, in dist/"
	@echo "make bench  measure the core and the whole path"
	@echo "make campaign  every board through the real libusb: the whole suite, every fault, 200 replugs (minutes)"

set-up: $(VENV)/.set-up

$(VENV)/.set-up: pyproject.toml meson.build meson.options cext/meson.build
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "sonod needs Python 3.11 or newer; set PYTHON=")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet "numpy>=1.26" --group dev
	$(BIN)/python -m pip install --quiet --no-build-isolation --editable .
	touch $@

$(VENV)/.foreign: $(VENV)/.set-up
	$(BIN)/python -m pip install --quiet --group foreign
	touch $@

run: set-up
	$(BIN)/sonod run --record-folder clips $(ARGS)

lint: set-up
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: set-up
	$(BIN)/mypy

test: lint types $(VENV)/.foreign
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

# The JSON Schemas of the messages, after a change of their types.
schemas: set-up
	$(BIN)/python docs/make_schemas.py

bench: set-up
	$(BIN)/sonod bench $(ARGS)

# Five minutes of faults; needs umockdev. ARGS="--seconds 86400" for a day.
soak: set-up
	$(BIN)/python tests/soak/soak.py $(ARGS)

# Needs dpkg-deb, and the system's Python in the version of the environment's.
deb: set-up
	$(BIN)/python packaging/build_deb.py dist

# Every board under the whole driver suite, every fault and 200 replugs through the real libusb: minutes, needs umockdev.
# Emulated boards mostly wait, so that several run at once.
campaign: set-up
	LD_PRELOAD=libumockdev-preload.so.0 UMOCKDEV_DIR=/nonexistent $(BIN)/python -m pytest -p no:cacheprovider -n 3 -rP tests/libusb_tier/campaign_*.py $(ARGS)

clean:
	rm -rf $(VENV) build dist
