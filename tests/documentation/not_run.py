"""The blocks of README and docs that no test runs, and why. A test holds the list complete."""

from __future__ import annotations

from typing import Final

CLONES: Final = "It clones, compiles and serves until Ctrl-C; scripts/up has tests of its own."
PARSED: Final = "Commands of many situations; each of them is parsed as the command line would."
NETWORK: Final = "It downloads."
MINUTES: Final = "It takes minutes."
PICTURE: Final = "A picture."
OTHERS: Final = "A configuration of another program, which is not here."
SERVES: Final = "It serves until Ctrl-C."

NOT_RUN: Final[dict[tuple[str, str], str]] = {
    ("README.md", "git clone REPOSITORY localserve && cd localserve"): CLONES,
    ("README.md", "scripts/test"): MINUTES,
    (
        "README.md",
        "localserve up ~/models/some.gguf      # a file (of a split model, any shard)",
    ): PARSED,
    (
        "README.md",
        "ANTHROPIC_BASE_URL=http://127.0.0.1:8080 ANTHROPIC_AUTH_TOKEN=none"
        " ANTHROPIC_MODEL=qwen3-8b claude",
    ): "Claude Code is not here; scripts/test --clients runs it.",
    (
        "README.md",
        "LOCALSERVE_PREFIX_DISK_BYTES=0 localserve up           # write none",
    ): "It serves until Ctrl-C, and deletes files of the home folder.",
    ("README.md", "localserve bench --users 1,4,16 --seconds 30"): MINUTES,
    ("README.md", "pip install --group pyproject.toml:bench"): NETWORK,
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
}
