ARG BASE=python:3.13-slim

FROM ${BASE} AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY sidecar sidecar
RUN python -m venv /opt/sidecar && /opt/sidecar/bin/pip install --no-cache-dir .

FROM ${BASE}
COPY --from=build /opt/sidecar /opt/sidecar
USER 65532:65532
EXPOSE 9808
ENTRYPOINT ["/opt/sidecar/bin/sidecar"]
