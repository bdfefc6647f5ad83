# `make` lists the targets. Nothing has to be installed first but Python 3.11 or newer.

SHELL = /bin/sh
BIN = .venv/bin
BUILD = build
N ?= 3

# Images of containers often forbid Python to keep what it compiled. Tests and the demo start many
# processes, and each would compile all that it imports again: half of the time of the suite.
unexport PYTHONDONTWRITEBYTECODE

# Words passed on to the command of run, test, faults, bench and lock: make test ARGS="-k embedded -x"
ARGS ?=

# The first Python that is new enough; `make PYTHON=/path/to/python3.12` chooses another.
PYTHON ?=
FIND_PYTHON = for python in $(PYTHON) $(if $(PYTHON),,$(BIN)/python python3 python3.14 python3.13 python3.12 python3.11 python); do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; python=; done; \
	if [ -z "$$python" ]; then \
	echo "expected Python 3.11 or newer, found $$($(or $(PYTHON),python3) --version 2>/dev/null || echo none);" \
	"install one, or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; fi

.PHONY: help run test check lint format faults bench lock venv clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1|\2/p' Makefile | \
	while IFS='|' read -r target words; do printf '  make %-8s %s\n' "$$target" "$$words"; done

run: ## start the demo: server, worker, mail, fake services (ARGS="--once" ends by itself)
	@$(FIND_PYTHON); "$$python" tools/environment.py run
	@$(BIN)/arq-jobs dev --demo $(ARGS)

test: venv ## run the whole suite on embedded servers; JUnit report in build/junit.xml
	@mkdir -p $(BUILD)
	@$(BIN)/python -m pytest -q -n $(N) --maxprocesses 4 --dist worksteal --junitxml=$(BUILD)/junit.xml $(ARGS)

check: venv ## format, lint, types, architecture: all that needs no server
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/python -m mypy
	$(BIN)/python -m pytest -q tests/architecture

lint: venv ## repair what the linter can repair, and show the rest
	$(BIN)/ruff check --fix .

format: venv ## format the code
	$(BIN)/ruff format .

faults: venv ## kill, stall and fill servers and workers (minutes)
	@mkdir -p $(BUILD)
	@$(BIN)/python -m pytest -q -m faults --timeout 600 --junitxml=$(BUILD)/faults.xml $(ARGS)

bench: venv ## measure speed beside the peers (ARGS="compare --quick"); wants a quiet machine
	@$(BIN)/python -m benchmarks $(or $(ARGS),all)

lock: ## write requirements/*.txt anew (ARGS="--upgrade" for newer versions)
	@$(FIND_PYTHON); "$$python" tools/lock.py $(ARGS)

venv: ## make .venv from the lock files; nothing to do if it is up to date
	@$(FIND_PYTHON); "$$python" tools/environment.py dev

clean: ## remove what make made; .jobs/ with the demo's data stays
	rm -rf .venv $(BUILD) dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage .coverage.*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
