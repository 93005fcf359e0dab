# The doors of the project. Each makes the environment it needs, from nothing but git and a Python 3.11 to 3.13.
VENV := .venv
BIN := $(VENV)/bin
PYTHON := $(BIN)/python

# torch goes in first and alone: it is by far the largest download, so a failure further on does not repeat it.
TORCH := $(shell sed -n '/^torch==/p' constraints.txt)

# A slow index is waited for rather than failed on; what the environment says stands.
PIP_DEFAULT_TIMEOUT ?= 120
PIP_RETRIES ?= 10
PIP_DISABLE_PIP_VERSION_CHECK ?= 1
export PIP_DEFAULT_TIMEOUT PIP_RETRIES PIP_DISABLE_PIP_VERSION_CHECK

# What builds the package comes in the pinned version too: older pips read the first of these for it, newer the second.
export PIP_CONSTRAINT := constraints.txt
export PIP_BUILD_CONSTRAINT := constraints.txt

# A file of tests stays with one process: its fixtures are dear. More processes than this only take memory.
ON_ALL_CORES := -n auto --maxprocesses 4 --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev web web-check serve demo test check format lint types imports budgets docs fix bench-engine bench-tape bench-easy-cache bench-coldstart bench-schedule bench-fleet bench-gpu bench-residency bench-routing bench-service bench-peers bench-crowd bench-web bench-soak soak real-parts servers train-landscapes train-adapters clean

help: ## list these doors
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(VENV)/.made:
	sh tools/venv.sh $(VENV)
	touch $@

$(VENV)/.runtime: $(VENV)/.made pyproject.toml constraints.txt
	$(PYTHON) -m pip install "$(TORCH)"
	$(PYTHON) -m pip install -e . -c constraints.txt
	touch $@

$(VENV)/.dev: $(VENV)/.runtime
	$(PYTHON) -m pip install -e ".[dev]" -c constraints.txt
	touch $@

setup: $(VENV)/.runtime ## the environment that runs Darkroom: .venv/bin/darkroom
setup-dev: $(VENV)/.dev ## the same, and what tests and checks need

web: setup ## the web UI, built into the package where its sources have changed; fetches Node where there is none
	$(PYTHON) -m tools.web

web-check: setup-dev ## the web UI's types, arrows, style and unit tests
	$(PYTHON) -m tools.web --check

# The API serves without its pages: what their build lacks is said, and the service starts.
serve: setup ## the service with the model that ships and the web UI, at http://127.0.0.1:8188
	-@$(PYTHON) -m tools.web
	$(BIN)/darkroom serve

demo: setup ## an image from the model that ships: sunset.png
	$(BIN)/darkroom generate "A beautiful sunset over mountains" -o sunset.png

test: setup-dev real-parts ## the fast tests
	$(PYTHON) -m pytest $(ON_ALL_CORES) -m "not slow"

# What is quick to fail runs first; the tests run last, so that their closing line is the last thing to read.
check: real-parts format lint types imports budgets docs web-check servers ## everything that must hold before a commit
	$(PYTHON) -m pytest $(ON_ALL_CORES)

# Programs that tests run for real. Without root or apt they are left out, and what needs them skips with its reason.
real-parts:
	@missing=$$(for part in redis-server nginx openssl systemd-analyze chromium prometheus kubectl; do command -v $$part >/dev/null || echo $$part; done); \
		[ -z "$$missing" ] || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -q && \
		for package in $$(echo $$missing | sed -e s/systemd-analyze/systemd/ -e s/kubectl/kubernetes-client/); do \
		DEBIAN_FRONTEND=noninteractive apt-get install -y -q $$package; done; } || true

servers: setup-dev ## TorchServe and Triton, for the tests of exports: a third of a gigabyte, each in an environment of its own
	@command -v java >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -q && \
		DEBIAN_FRONTEND=noninteractive apt-get install -y -q default-jre-headless; } || true
	@$(PYTHON) -m bench.peers.environments torchserve triton || true

format: setup-dev
	$(BIN)/ruff format --check .

lint: setup-dev
	$(BIN)/ruff check .

types: setup-dev
	$(BIN)/mypy

imports: setup-dev
	$(BIN)/lint-imports

budgets: setup-dev ## sizes of functions and files against the house's budgets
	$(PYTHON) -m tools.style_budget

docs: setup-dev ## links, commands, errors, settings, flags, events and terms
	$(PYTHON) -m tools.docs_check
	$(PYTHON) -m tools.openapi --check

fix: setup-dev ## format, and mend what the linter can mend by itself
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench-engine: setup-dev ## the engine's figures: a table and JSON
	OMP_WAIT_POLICY=PASSIVE $(PYTHON) -m bench.engine

bench-tape: setup-dev ## what tapes cost and save: a table and JSON
	OMP_WAIT_POLICY=PASSIVE $(PYTHON) -m bench.tape

bench-coldstart: setup-dev ## seconds until a worker is ready, forked and from cold: a table and JSON
	$(PYTHON) -m bench.coldstart

bench-schedule: setup-dev ## deadlines kept and tails in a simulation, against other policies: a table and JSON
	$(PYTHON) -m bench.schedule

bench-fleet: setup ## waits, cost and use of a fleet under several policies, in a simulation; TRACE=file.csv for one's own
	$(BIN)/darkroom fleet simulate $(if $(TRACE),--trace $(TRACE))

bench-gpu: setup-dev ## per cent of the FLOP floor, rows against seconds, and loads, on a GPU; ARGS=--small on a CPU
	OMP_WAIT_POLICY=PASSIVE $(PYTHON) -m bench.gpu $(ARGS)

bench-residency: setup-dev ## seconds until a model is on its device, from disk and from host memory; LOADING=1: by ways to read files
	OMP_WAIT_POLICY=PASSIVE $(PYTHON) -m bench.$(if $(LOADING),loading,residency)

bench-easy-cache: setup-dev ## denoiser calls that need not run: how many, and what that does to the images
	OMP_WAIT_POLICY=PASSIVE $(PYTHON) -m bench.easy_cache

bench-routing: setup-dev ## loads and waits of many models on few workers, in a simulation; TRACE=file.csv for one's own
	$(PYTHON) -m bench.routing $(if $(TRACE),--trace $(TRACE))

bench-service: setup-dev ## the service's figures: a table and JSON; fails where a floor is not reached
	OMP_WAIT_POLICY=PASSIVE $(PYTHON) -m bench.service --gate

bench-soak: setup-dev ## two hours of mixed load, cancels, disconnects, bad input and kills: what grows, what is lost
	OMP_WAIT_POLICY=PASSIVE $(PYTHON) -m bench.soak

bench-peers: setup-dev ## Darkroom and other servers on the same work, in turn: tables and a page; resumable, 90 minutes; QUICK=1: 10
	OMP_WAIT_POLICY=PASSIVE $(PYTHON) -m bench.peers $(if $(QUICK),--quick)

bench-crowd: setup-dev ## 300 users at once on the `fast` preset: all served, and how long status calls take meanwhile
	CROWD=full $(PYTHON) -m pytest -q -m slow tests/integration/test_crowd.py

bench-web: web-check real-parts ## the web UI's figures: bytes of a first visit, and what Lighthouse says; fails below 95 of 100
	LIGHTHOUSE=full $(PYTHON) -m pytest -q -s -m slow tests/browser/test_first_load.py

soak: setup-dev real-parts ## random kills under load, resumable: 1,000 of them over at least 20 runs
	OMP_WAIT_POLICY=PASSIVE $(PYTHON) -m tests.soak

train-landscapes: setup-dev ## train the bundled model again; hours on a CPU, goes on where it stopped
	$(PYTHON) -m examples.landscapes.train

train-adapters: setup-dev ## train the adapters that ship again, judge them and write their cards; about an hour on a CPU core
	$(PYTHON) -m examples.adapters.train
	$(PYTHON) -m examples.adapters.evaluate
	$(PYTHON) -m examples.adapters.card

clean: ## caches and builds; the environment and images stay
	rm -rf build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
