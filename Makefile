# The two commands a person needs are `make run` and `make test`; CONTRIBUTING.md tells about the others.
SHELL := /bin/bash
.DEFAULT_GOAL := help
BIN := .venv/bin
ARGS ?=
EXAMPLES ?= 5000
INPUTS ?= 1000000
RATE ?= 200

.PHONY: help
help: ## what there is
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: venv
venv: ## the virtual environment with everything for development
	@deploy/venv.sh dev

.PHONY: run
run: ## dockmend in the foreground, on rules.d/ and state/; more flags: make run ARGS="--dry-run"
	@deploy/run.sh $(ARGS)

.PHONY: install uninstall
install: ## as root: dockmend as a service of systemd; once more to upgrade it; see docs/install.md
	@deploy/install.sh
uninstall: ## as root: takes it away again; what cannot be had again stays and is named, unless PURGE=yes
	@deploy/uninstall.sh

.PHONY: image proxy release
image: ## the container image `dockmend`: make image BASE=python:3.13-slim, or an image that the engine has
	@deploy/image.sh dockmend
proxy: ## the image `dockmend-proxy` of deploy/compose.proxy.yaml: make proxy BASE=debian:stable-slim
	@deploy/image.sh proxy
release: venv ## on a tag: wheel, source archive, bill of materials, checksums in dist/; the image too with BASE=NAME
	@deploy/release.sh

.PHONY: check lint types layers unit
check: lint types layers unit ## lint, types, layers and unit tests: no engine needed, under a minute
lint: venv
	$(BIN)/ruff check --output-format concise .
	$(BIN)/ruff format --check --quiet .
types: venv
	$(BIN)/mypy
layers: venv
	$(BIN)/lint-imports --no-logo
unit: venv
	$(BIN)/pytest tests/unit -q -n 2

.PHONY: test
test: venv ## unit and contract tests and each promise of the README once, against real parts of their own (root)
	@tests/lab/install.sh
	$(BIN)/pytest tests --tier quick -n 3 --dist worksteal $(ARGS)

.PHONY: test-all
test-all: venv ## the rest of the tests, all that `make test` leaves out
	@tests/lab/install.sh
	$(BIN)/pytest tests --tier rest -n 3 --dist worksteal $(ARGS)

.PHONY: steady
steady: venv ## `make test` ten times, three of them beside a load of two cores; goes on where it was interrupted
	@tests/lab/install.sh
	@PYTHONPATH=. $(BIN)/python -m tests.steady

# What the next release's engine may do otherwise. Each target stands alone: CI runs them after `make test-all`.
NEXT := test_options test_recreate test_recreate_killed test_networks test_networks_missing test_actions_networks \
  test_actions_networks_made test_ends test_dependents
STORE := test_actions_images
KIND := tests/integration/test_lab.py::test_the_engine_is_of_the_kind_that_was_chosen
.PHONY: test-next
test-next: venv ## the tests that an engine can break, and a slice of the campaign, on the next Debian release's engine
	@tests/lab/install.sh
	@tests/lab/next_engine.sh
	$(BIN)/pytest tests/campaign/test_campaign.py tests/contract $(KIND) $(NEXT:%=tests/integration/%.py) \
	  --engine next --campaign-faults 40 -n 3 --dist worksteal $(ARGS)

.PHONY: test-containerd
test-containerd: venv ## contract and images on the same engine with the containerd image store
	@tests/lab/install.sh
	@tests/lab/next_engine.sh
	$(BIN)/pytest tests/contract $(KIND) $(STORE:%=tests/integration/%.py) \
	  --engine next-containerd -n 3 --dist worksteal $(ARGS)

.PHONY: unit-313
unit-313: ## the unit tests on Python 3.13, which is Debian 13's, in a virtual environment of its own
	@VENV=.venv313 PYTHON=/usr/bin/python3.13 deploy/venv.sh dev
	.venv313/bin/pytest tests/unit -q -n 2 -o cache_dir=.venv313/pytest_cache

.PHONY: podman
podman: venv ## the whole contract suite on Podman's Docker API, see docs/engines.md
	@tests/lab/install.sh
	$(BIN)/pytest tests/contract -k podman --podman all $(ARGS)

.PHONY: campaign
campaign: venv ## the chaos campaign, see docs/reliability.md: seeds until the table holds FAULTS=5000; SEED=7 runs that one alone
	@tests/lab/install.sh
	@case "$(ARGS)" in *--engine*next*) tests/lab/next_engine.sh ;; esac
	@PYTHONPATH=.:daemon $(BIN)/python -m tests.campaign $(SEED:%=--seed %) $(FAULTS:%=--faults %) $(MINUTES:%=--minutes %) $(ARGS)

.PHONY: soak
soak: venv ## dockmend under a steady mix of events, its memory watched: make soak MINUTES=60 RATE=200
	@tests/lab/install.sh
	@PYTHONPATH=.:daemon $(BIN)/python -m tests.soak --minutes $(or $(MINUTES),10) --rate $(RATE)

.PHONY: deaths
deaths: venv ## dockmend killed at every step of a group's restart; `make test-all` runs every fourth of these
	@tests/lab/install.sh
	$(BIN)/pytest tests/integration -m deaths --every-death -n 3 --dist worksteal

.PHONY: fuzz
fuzz: venv ## everything that reads from outside: make fuzz INPUTS=1000000 SEED=1 EXAMPLES=5000
	@PYTHONPATH=.:daemon $(BIN)/python -m tests.campaign.fuzz --inputs $(INPUTS) --seed $(or $(SEED),1)
	$(BIN)/pytest tests/campaign/fuzz tests/unit/rules/test_fuzz.py --hypothesis-profile random --campaign-examples $(EXAMPLES) --timeout 0

.PHONY: structure
structure: venv ## how the code is built, in figures: names, circles, comments, and the way of one event
	@PYTHONPATH=.:daemon $(BIN)/python -m tests.structure

.PHONY: bench
bench: venv ## the measurements of bench/README.md
	@tests/lab/install.sh
	@for each in events mass_removal history latency footprint messages snapshot dependents; do \
	  echo "== bench/$$each.py"; PYTHONPATH=. $(BIN)/python "bench/$$each.py" || exit 1; \
	done

.PHONY: pins
pins: ## write requirements/*.txt anew from pyproject.toml (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --no-header --no-annotate --quiet --upgrade -o requirements/runtime.txt pyproject.toml requirements/build.in
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --no-header --no-annotate --quiet --upgrade --extra dev -c requirements/runtime.txt \
	  -o requirements/dev.txt pyproject.toml requirements/build.in

.PHONY: clean
clean: ## remove the virtual environment and caches; state/ stays
	rm -rf .venv .venv313 .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist daemon/*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
