# The base brings python3, 3.11 or newer and with venv, on glibc.
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
WORKDIR /build
RUN python3 -m venv tools && python3 -m venv --without-pip /opt/sidecar
COPY requirements.lock requirements-build.lock ./
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=ca.pem \
    install="install --no-cache-dir --no-compile --only-binary :all: --require-hashes" \
 && tools/bin/pip $install -r requirements-build.lock \
 && tools/bin/pip --python /opt/sidecar $install -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY sidecar sidecar
RUN tools/bin/hatchling build -t wheel \
 && tools/bin/pip --python /opt/sidecar install --no-compile --no-deps --no-index dist/*.whl

FROM ${BASE}
COPY --from=build /opt/sidecar /opt/sidecar
ENV PATH=/opt/sidecar/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
USER 65532:65532
EXPOSE 9808
ENTRYPOINT ["sidecar"]
