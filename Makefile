# The environment is made once in .venv and again when pyproject.toml changes.
# Another interpreter needs another folder: PYTHON=python3.12 VENV=.venv312 make test

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
QUIET := --quiet --disable-pip-version-check
PIP := $(BIN)/python -m pip install $(QUIET)

# What needs other servers, or minutes, has targets of its own.
QUICK := --ignore=tests/interop --ignore=tests/faults --ignore=tests/page --ignore=tests/deploy --ignore=tests/e2e

# More workers than cores, for many tests wait for a process of theirs.
WORKERS ?= $(shell echo $$(( ($$(getconf _NPROCESSORS_ONLN) * 3 + 1) / 2 )))
PARALLEL := --numprocesses=$(WORKERS) --dist=worksteal

# The lower bound, and the newest of every major since.
PROTOBUFS := 4.25.3 5.* 6.* 7.*

# The image. podman's build and docker's (BuildKit, the default since 23) take the same options.
ENGINE ?= $(shell command -v podman || command -v docker)
VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' sidecar/__init__.py)
IMAGE ?= inference-health-sidecar:$(VERSION)
BASE ?= python:3.13-slim
SOURCE ?=
REVISION ?= $(shell git describe --always --abbrev=40 --exclude='*' --dirty 2>/dev/null)
OCI := org.opencontainers.image
# For an index of one's own: --secret id=pip.conf,src=FILE, and with `cert = /run/secrets/ca.pem` in it
# --secret id=ca.pem,src=FILE.
IMAGE_OPTIONS ?=

LOCK := $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 \
  --only-binary :all: --generate-hashes --custom-compile-command 'make lock'

.PHONY: help demo image lock test coverage lint interop faults soak page screenshots deploy-checks dashboard docs e2e test-lowest test-protobuf check protos format clean

help:  ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

demo: $(VENV)/.run  ## the main job, against a toy server that comes with it
	$(BIN)/sidecar demo

image:  ## the image, by podman or docker; IMAGE=name:tag BASE=image IMAGE_OPTIONS=... for others
	@[ -n "$(ENGINE)" ] || { echo "neither podman nor docker is there"; exit 1; }
	$(ENGINE) build --build-arg BASE=$(BASE) --tag $(IMAGE) --label $(OCI).version=$(VERSION) \
	  $(if $(REVISION),--label $(OCI).revision=$(REVISION)) \
	  $(if $(SOURCE),--label $(OCI).source=$(SOURCE)) $(IMAGE_OPTIONS) .

lock: $(VENV)/.lock  ## the newest dependencies that pyproject.toml allows, with hashes, for the image
	$(LOCK) --output-file requirements.lock pyproject.toml
	$(BIN)/python -c 'import tomllib; \
	  print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' | \
	  $(LOCK) --output-file requirements-build.lock -

test: $(VENV)/.test  ## the tests
	$(BIN)/python -m pytest $(QUICK) $(PARALLEL)

coverage: $(VENV)/.test  ## the tests, with branch coverage of every process
	$(BIN)/python -m pytest $(QUICK) $(PARALLEL) --cov --cov-report=term
	$(BIN)/coverage report --fail-under=95 >/dev/null
	$(BIN)/coverage report --include='sidecar/core/*' --fail-under=100 >/dev/null

lint: $(VENV)/.lint  ## ruff, ruff format, mypy --strict, import-linter
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

interop: $(VENV)/.test  ## against five real servers and Prometheus
	$(BIN)/python -m pytest tests/interop

faults: $(VENV)/.test  ## the fault matrix: each fault, and what the endpoints say
	$(BIN)/python -m pytest tests/faults --ignore=tests/faults/test_soak.py --numprocesses=3

soak: $(VENV)/.test  ## half a million polls with faults: nothing grows; SOAK_POLLS=... for fewer
	$(BIN)/python -m pytest tests/faults/test_soak.py

page: $(VENV)/.page  ## the status page in a real browser: Debian's chromium, and axe-core by npm
	$(BIN)/python -m pytest tests/page

screenshots: $(VENV)/.page  ## the pictures of the demo's page in docs/
	$(BIN)/python -m tests.page.screenshots

deploy-checks: $(VENV)/.deploy  ## what stands in deploy/, and the image, without a cluster
	$(BIN)/python -m pytest tests/deploy

dashboard: $(VENV)/.deploy  ## write deploy/grafana/dashboard.json
	$(BIN)/python -m deploy.grafana.dashboard

docs: $(VENV)/.docs  ## write what the pages take from the code, and build them into site/
	$(BIN)/python -m docs.generate
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

e2e: $(VENV)/.deploy  ## in a real cluster: KUBECONFIG=... make e2e IMAGE=the-image-as-the-nodes-find-it
	IMAGE='$(IMAGE)' $(BIN)/python -m pytest tests/e2e

test-lowest:  ## the tests on the oldest versions that pyproject.toml allows
	$(MAKE) VENV=$(VENV)-lowest LOWEST=1 $(VENV)-lowest/.lowest
	$(VENV)-lowest/bin/python -m pytest $(QUICK) $(PARALLEL) --ignore=tests/oip/test_generated.py

test-protobuf: $(VENV)-protobuf/.dev  ## messages and client on every protobuf, compiled and not
	for version in $(PROTOBUFS); do \
	  $(VENV)-protobuf/bin/python -m pip install $(QUIET) "protobuf==$$version" || exit; \
	  for implementation in upb python; do \
	    echo "protobuf $$version, $$implementation"; \
	    PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=$$implementation \
	    $(VENV)-protobuf/bin/python -m pytest --quiet tests/oip tests/client \
	      --ignore=tests/oip/test_generated.py || exit; \
	  done; \
	done

check: test coverage lint interop faults soak page deploy-checks test-lowest test-protobuf  ## everything

protos: $(VENV)/.test  ## compile protos/ into sidecar/oip/
	$(BIN)/python protos/compile.py

format: $(VENV)/.lint  ## let ruff lay out the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:  ## remove what the targets made
	rm -rf $(VENV) $(VENV)-lowest $(VENV)-protobuf site .coverage* e2e-report.md .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "there is no program $(PYTHON)"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) --version 2>&1)"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "$(PYTHON) has no venv module; on Debian: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV), which takes a while the first time"

$(VENV)/.run: $(BIN)/python pyproject.toml
	$(PIP) --editable .
	@touch $@

$(VENV)/.test: $(BIN)/python pyproject.toml
	$(PIP) --editable '.[dev,protos]'
	@touch $@

$(VENV)/.page: $(BIN)/python pyproject.toml
	$(PIP) --editable '.[dev,page]'
	@touch $@

$(VENV)/.deploy: $(BIN)/python pyproject.toml
	$(PIP) --editable '.[dev,deploy]'
	@touch $@

$(VENV)/.docs: $(BIN)/python pyproject.toml
	$(PIP) --editable '.[docs]'
	@touch $@

$(VENV)/.lock: $(BIN)/python pyproject.toml
	$(PIP) --editable '.[lock]'
	@touch $@

$(VENV)/.lint: $(BIN)/python pyproject.toml
	$(PIP) --editable '.[dev,protos,page,deploy,lint]'
	@touch $@

$(VENV)-protobuf/.dev: pyproject.toml
	$(MAKE) VENV=$(VENV)-protobuf $(VENV)-protobuf/.plain
	@touch $@

$(VENV)/.plain: $(BIN)/python pyproject.toml
	$(PIP) --editable '.[dev]'
	@touch $@

$(VENV)/.lowest: $(BIN)/python pyproject.toml tests/lowest.txt
	$(PIP) --constraint tests/lowest.txt --editable '.[dev]'
	@touch $@
