# segue: what people type. `make demo` and `make test` are all a newcomer needs.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: demo test test-full test-real statements check format bench lock clean help real-up real-down real-status

help:            ## this list
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

demo: $(STAMP)   ## lose requests, see why, then lose none (about 100 s)
	@$(BIN)/segue demo

test: $(STAMP)   ## all pure tests and the pinned cross-section on the embedded cluster
	$(BIN)/python tools/run_tests.py test $(RUN)

test-full: $(STAMP)   ## everything enumerated and repeated (RUN=--record writes date and result into the docs)
	SEGUE_STORIES=random $(BIN)/python tools/run_tests.py full $(RUN)

test-real: $(STAMP)   ## the suite of both clusters on a real Kubernetes (RUN=--full for all of it, --quick for a part)
	$(BIN)/python tools/run_tests.py real $(RUN)

statements: $(STAMP)  ## what the last runs confirmed becomes docs/reference/statements.md
	$(BIN)/python tools/make_statements.py --take

real-up: $(STAMP) ## a real Kubernetes in namespaces of its own (VERSION=1.37|1.34, PROXY=nftables|iptables; built at first)
	$(BIN)/python -m testbed up $(if $(VERSION),--version $(VERSION)) $(if $(PROXY),--proxy $(PROXY))

real-down: $(STAMP) ## end it; nothing stays behind
	$(BIN)/python -m testbed down

real-status: $(STAMP) ## what runs of it
	$(BIN)/python -m testbed status

check: $(STAMP)  ## format, lint, import contracts, types, pure tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/pytest -q tests -m "not live and not full and not long" -n 2

format: $(STAMP) ## rewrite in the house format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP)  ## one line per figure: name value unit goal met (BENCH=startup|release|... for some, CLUSTER=real)
	CLUSTER=$(or $(CLUSTER),embedded) $(BIN)/python -m bench $(BENCH)

lock: $(STAMP)   ## resolve the dependencies afresh into requirements.lock
	$(BIN)/pip install -q uv
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --group dev pyproject.toml -o requirements.lock

clean:           ## remove what this makefile made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis reports

$(STAMP): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys, ssl, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' || { echo "segue needs Python 3.11 or newer with venv (Debian: apt-get install python3-venv)"; exit 1; }
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) ..."
	@$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BIN)/python -m compileall -q src  # so that the first command starts as quickly as the second
	@touch $(STAMP)
