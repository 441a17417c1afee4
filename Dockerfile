# The base has Python 3.11 or newer with its venv, and glibc.
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
WORKDIR /build
RUN python3 -m venv tools && python3 -m venv --without-pip /opt/sidecar
COPY requirements.lock requirements-build.lock ./
# Both secrets may be missing: pip.conf names another index, and ca.pem an authority for it.
# pip itself imports what it has just installed; compiled that way it would be there twice.
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=ca.pem \
    export PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_ONLY_BINARY=:all: \
 && tools/bin/pip install --require-hashes -r requirements-build.lock \
 && tools/bin/pip --python /opt/sidecar install --no-compile --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY sidecar sidecar
RUN tools/bin/hatchling build -t wheel \
 && PYTHONDONTWRITEBYTECODE=1 tools/bin/pip --python /opt/sidecar install --no-compile --no-deps --no-index dist/*.whl
# The official Python images have the standard library without its compiled form, and what cannot be
# written at run time would be compiled at each start: it took 0.63 s instead of 0.16. So all that a
# sidecar loads is compiled here, apart from its source; by hash, because a build may set all times.
ENV PYTHONPYCACHEPREFIX=/opt/sidecar/compiled
COPY deploy/image/loaded.py ./
RUN /opt/sidecar/bin/python3 -IB loaded.py > loaded \
 && /opt/sidecar/bin/python3 -B -m compileall -q --invalidation-mode unchecked-hash -i loaded

FROM ${BASE}
COPY --from=build /opt/sidecar /opt/sidecar
ENV PATH=/opt/sidecar/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONPYCACHEPREFIX=/opt/sidecar/compiled
USER 65532:65532
EXPOSE 9808
ENTRYPOINT ["sidecar"]
# Version, revision and source come from `make image` as options: as arguments of this file podman
# 4.3 would take those of an earlier build from its cache.
LABEL org.opencontainers.image.title="inference-health-sidecar" \
      org.opencontainers.image.description="Checks the health of an Open Inference Protocol server, and reports it to Kubernetes and Prometheus." \
      org.opencontainers.image.licenses="Apache-2.0"
