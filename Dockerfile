# localserve on the CPU. docs/install.md says how to run it.
#
#   docker build -t localserve .
#
# It runs on other machines than the one that built it: on x86-64 with AVX2, or on any arm64. For this
# machine's processor alone: --build-arg CMAKE_ARGS="-DGGML_NATIVE=on"

FROM python:3.13-slim-trixie AS build

RUN apt-get update \
    && apt-get install --yes --no-install-recommends build-essential cmake ninja-build \
    && rm -rf /var/lib/apt/lists/*

ARG UV_VERSION=0.13.9
RUN pip install --no-cache-dir "uv==${UV_VERSION}"

ENV UV_COMPILE_BYTECODE=1 \
    UV_NO_CACHE=1 \
    UV_PYTHON=/usr/local/bin/python3 \
    UV_PYTHON_DOWNLOADS=never \
    UV_PROJECT_ENVIRONMENT=/opt/localserve

WORKDIR /source
COPY pyproject.toml uv.lock ./
ARG CMAKE_ARGS="-DGGML_NATIVE=off"
# What localserve needs comes first: a change of its code does not compile llama.cpp again.
RUN uv sync --locked --no-default-groups --all-extras --no-install-project

COPY README.md LICENSE ./
COPY localserve localserve
RUN uv sync --locked --no-default-groups --all-extras --no-editable


FROM python:3.13-slim-trixie

RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --create-home localserve \
    && install --directory --owner=localserve --group=localserve /data

COPY --from=build /opt/localserve /opt/localserve

# Other machines reach it, so it refuses to start without LOCALSERVE_API_KEY or a key in its volume.
ENV PATH=/opt/localserve/bin:$PATH \
    LOCALSERVE_HOME=/data \
    LOCALSERVE_HOST=0.0.0.0 \
    LOCALSERVE_PORT=8080 \
    LOCALSERVE_LOG_FORMAT=json

# An image whose llama.cpp cannot be loaded is none.
RUN python -c "import llama_cpp"

USER 10001:10001
VOLUME ["/data"]
EXPOSE 8080

# Ready is who can answer: while a model loads or downloads, the container is 'starting'.
HEALTHCHECK --interval=15s --timeout=10s --start-period=30m --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as web; web.urlopen(f\"http://127.0.0.1:{os.environ['LOCALSERVE_PORT']}/health/ready\", timeout=8)"]

ENTRYPOINT ["tini", "--", "localserve"]
CMD ["up"]
