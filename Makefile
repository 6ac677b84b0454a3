# Two commands do everything: `make run` (set up, then chat, correct, train, serve) and `make test`.
# Everything happens inside .venv, from locked and hashed packages; nothing is downloaded after that.

PYTHON ?= python3
# Which builds: auto looks at the machine. TORCH=cpu|cuda|rocm|mps, LLAMA=cpu|cuda|vulkan|rocm.
TORCH  ?= auto
LLAMA  ?= auto
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
SETUP  := $(PYTHON) -m tools.setup

.DEFAULT_GOAL := help
.PHONY: help run install uninstall demo test faults mutate check format bench bench-table ember lock hashes docs clean system-packages rebuild

# A build that is asked for by name and is not the one that is installed: install again.
installed = $(if $(filter auto,$(2)),yes,$(shell grep -s '"$(1)": "$(2)"' $(STAMP)))
ifeq (,$(call installed,torch,$(TORCH)))
$(STAMP): rebuild
endif
ifeq (,$(call installed,xllamacpp,$(LLAMA)))
$(STAMP): rebuild
endif

help: ## Show what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

$(STAMP): $(wildcard requirements/*.txt) pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Homefire needs Python 3.11 or newer: make PYTHON=python3.11 …")'
	@$(SETUP) install --torch $(TORCH) --llama $(LLAMA)

run: $(STAMP) ## Set up and run Homefire: chat in the browser or with `.venv/bin/homefire chat`
	@$(BIN)/homefire up $(ARGS)

install: $(STAMP) ## Set up, and link the command as `homefire` into ~/.local/bin
	@$(SETUP) link

uninstall: ## Remove that link; the checkout and the home directory stay
	@$(SETUP) unlink

demo: $(STAMP) ## Tell the whole circle in a temporary home, and check every promise on the way
	@$(BIN)/homefire demo $(ARGS)

test: $(STAMP) system-packages ## Run every test, two files at a time
	$(BIN)/pytest --numprocesses=2 --dist=loadfile $(ARGS)

faults: $(STAMP) ## Damage every file of homes killed at every phase, in every way (about an hour; ARGS="-k live-flip" takes a part)
	HOMEFIRE_FAULTS=all nice -n 10 $(BIN)/pytest tests/faults $(ARGS)

mutate: $(STAMP) ## Change the code in a sample of ways and say which changes no test notices (ARGS="versions", ARGS="versions/gate --all")
	@nice -n 10 $(BIN)/python -m tools.mutation $(ARGS)

check: $(STAMP) ## Formatter, linter, types, import contracts, dead code; warnings are errors
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/vulture
	$(BIN)/pytest tests/docs

format: $(STAMP) ## Rewrite the code as the formatter and linter want it
	$(BIN)/ruff format . && $(BIN)/ruff check --fix .

bench: $(STAMP) ## Measure the numbers that stand in bench/results (20 to 30 minutes)
	$(BIN)/python -m bench.all

bench-table: $(STAMP) ## Print bench/results as a table
	@$(BIN)/python -m bench.table

ember: $(STAMP) ## Train the bundled model anew from generated data (about 20 CPU-minutes)
	$(BIN)/python tools/ember/train.py

docs: $(STAMP) ## Generate docs/reference from the code
	$(BIN)/python -m tools.docs.all

lock: $(STAMP) ## Resolve pyproject.toml again into requirements/lock.txt
	$(BIN)/python tools/lock.py

hashes: ## Download a build without known hashes and write them down: BUILD=torch-rocm, xllamacpp-cuda, …
	@$(SETUP) hashes $(BUILD)

system-packages: ## Install Debian's Chromium and PostgreSQL for the tests, where that is possible
	@tools/system_packages.sh

clean: ## Remove the virtual environment and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
