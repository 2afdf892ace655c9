"""The blocks of README and docs that no test runs, and why. A test holds the list complete."""

from __future__ import annotations

from typing import Final

CLONES: Final = "It clones, compiles and serves until Ctrl-C; scripts/up has tests of its own."
PARSED: Final = "Commands of many situations; each of them is parsed as the command line would."
NETWORK: Final = "It downloads."
MINUTES: Final = "It takes minutes."
PICTURE: Final = "A picture."
OTHERS: Final = "A configuration of another program, which is not here."
INSTALLS: Final = "It installs or removes programs; tests/release tries what can be tried."
WINDOWS: Final = "For Windows: untested."
ENGINE: Final = "It needs a container engine, which is not here."
SERVES: Final = "It serves until Ctrl-C."

RUN_ELSEWHERE: Final = {
    ("docs/client.md", "python"): "tests/client/test_documentation.py runs it, over a fake backend."
}
"""Languages of pages whose blocks need more than a server, and which tests run them."""

NOT_RUN: Final[dict[tuple[str, str], str]] = {
    ("README.md", "git clone REPOSITORY localserve && cd localserve"): CLONES,
    ("README.md", "scripts/test"): MINUTES,
    (
        "README.md",
        "localserve up ~/models/some.gguf      # a file (of a split model, any shard)",
    ): PARSED,
    (
        "docs/api.md",
        "ANTHROPIC_BASE_URL=http://127.0.0.1:8080 ANTHROPIC_AUTH_TOKEN=none"
        " ANTHROPIC_MODEL=qwen3-8b claude",
    ): "Claude Code is not here; scripts/test --clients runs it.",
    (
        "docs/response-cache.md",
        "LOCALSERVE_PREFIX_DISK_BYTES=0 localserve up           # write none",
    ): "It serves until Ctrl-C, and deletes files of the home folder.",
    ("docs/performance.md", "localserve bench --users 1,4,16 --seconds 30"): MINUTES,
    ("docs/performance.md", "pip install --group pyproject.toml:bench"): NETWORK,
    (
        "CONTRIBUTING.md",
        "scripts/test      # makes the environment, then every check and every test",
    ): MINUTES,
    (
        "ARCHITECTURE.md",
        "localserve up ── supervisor ── holds the listening sockets and the terminal",
    ): PICTURE,
    ("ARCHITECTURE.md", "cli | testing"): "The layers, which import-linter checks.",
    ("docs/index.md", "git clone REPOSITORY localserve && cd localserve"): CLONES,
    ("docs/index.md", "localserve pull qwen3-8b"): NETWORK,
    ("docs/quantization.md", "localserve fit unsloth/Qwen3-8B-GGUF"): NETWORK,
    ("docs/observability.md", "pip install 'localserve[otel]'"): NETWORK,
    ("docs/observability.md", "scrape_configs:"): OTHERS,
    ("docs/operations.md", "location / {"): OTHERS,
    ("docs/operations.md", "llm.example {"): OTHERS,
    (
        "docs/operations.md",
        "localserve up --host 0.0.0.0 --tls-cert cert.pem --tls-key key.pem",
    ): SERVES,
    ("docs/performance.md", "scripts/bench"): MINUTES,
    (
        "docs/performance.md",
        "python -m benchmarks.gateway_cost         # keys, limits, logs, metrics, spans",
    ): MINUTES,
    ("docs/install.md", "scripts/up"): CLONES,
    ("docs/install.md", "py -3.13 scripts\\environment.py"): WINDOWS,
    ("docs/install.md", "pipx install ."): INSTALLS,
    ("docs/install.md", "uv tool install ."): INSTALLS,
    ("docs/install.md", "python3 -m venv ~/localserve-env"): INSTALLS,
    ("docs/install.md", "uv sync --locked"): INSTALLS,
    ("docs/install.md", 'CMAKE_ARGS="-DGGML_CUDA=on" pip install .'): INSTALLS,
    ("docs/install.md", '$env:CMAKE_ARGS = "-DGGML_CUDA=on"'): WINDOWS,
    (
        "docs/install.md",
        'CMAKE_ARGS="-DGGML_VULKAN=on" pip install --force-reinstall --no-cache-dir --no-deps \\',
    ): INSTALLS,
    ("docs/install.md", "pip install --only-binary llama-cpp-python \\"): INSTALLS,
    ("docs/install.md", "uv tool install --no-build-package llama-cpp-python \\"): INSTALLS,
    ("docs/install.md", "docker build --tag localserve ."): ENGINE,
    (
        "docs/install.md",
        "docker run --rm --volume localserve:/data localserve pull qwen3-8b",
    ): ENGINE,
    ("docs/install.md", "docker build --file Dockerfile.cuda --tag localserve:cuda ."): ENGINE,
    ("docs/install.md", "git pull && scripts/up"): CLONES,
    ("docs/install.md", "localserve paths    # where its folders are"): INSTALLS,
    (
        "SECURITY.md",
        'SOURCE_DATE_EPOCH="$(git log -1 --format=%ct)" python -m build',
    ): "tests/release builds twice and compares.",
}
