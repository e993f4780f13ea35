# Everything a developer or an operator types. `make` alone lists it.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
BENCH  := $(VENV)/.bench

# Every core; a file's tests stay together, since they share what is dear to set up.
PARALLEL := --numprocesses auto --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help install run ui check test test-slow test-browser lint types format bench lock clean

help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

install: $(STAMP) ## Virtual environment with the locked versions (again only when they changed)

# Wheels are checked against the lock's hashes; the project itself is installed last, editable.
$(STAMP): requirements.lock pyproject.toml
	@echo "Installing into $(VENV) (a minute or two, once) …"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --require-hashes --requirement requirements.lock
	@$(BIN)/python -m pip install -qq --no-deps --no-build-isolation --editable .
	@touch $@

run: $(STAMP) ## Practice province, one night, scorecard
	$(BIN)/thuocdo demo

ui: $(STAMP) ## Practice province, Dagster UI on http://127.0.0.1:3000 and the nightly schedule
	$(BIN)/thuocdo ui

check: lint types test ## Everything that must hold before a change is handed in

test: $(STAMP) ## The tests, without the slow ones and the browser
	$(BIN)/python -m pytest $(PARALLEL)

test-slow: $(STAMP) ## Tests that take minutes, two hundred kills and schedules of faults among them (three quarters of an hour)
	$(BIN)/python -m pytest -m slow $(PARALLEL)

test-browser: $(STAMP) ## The UI in headless Chromium (Debian packages chromium, chromium-driver)
	$(BIN)/python -m pytest -m browser

lint: $(STAMP) ## ruff
	$(BIN)/ruff check .

types: $(STAMP) ## mypy --strict
	$(BIN)/mypy

format: $(STAMP) ## Let ruff lay out the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(BENCH): $(STAMP) requirements-bench.lock
	@$(BIN)/python -m pip install -qq --require-hashes --requirement requirements-bench.lock
	@touch $@

bench: $(BENCH) ## Benchmarks, written to benchmarks/README.md (an hour)
	$(BIN)/python -m benchmarks

# No index address and no path gets into the lock: where packages come from is the machine's own matter.
COMPILE = uv pip compile pyproject.toml --extra dev --generate-hashes --no-strip-extras --no-emit-index-url \
	--no-emit-find-links --universal --python-version 3.11 --custom-compile-command "make lock" --quiet

lock: ## Lock the newest versions that pyproject.toml allows (needs uv)
	$(COMPILE) --upgrade --output-file requirements.lock
	$(COMPILE) --extra bench --constraint requirements.lock --output-file requirements-bench.lock

clean: ## Remove what was installed and computed here, not .thuocdo
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
