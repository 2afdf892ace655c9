"""`localserve up`, with `faulty_worker` in place of the worker. For tests only."""

from __future__ import annotations

from typing import Any

from localserve import cli
from localserve.cli import up
from localserve.server.supervisor import Supervisor


def faulty(*arguments: Any, **options: Any) -> Supervisor:
    return Supervisor(*arguments, **options, module="tests.e2e.faulty_worker")


up.Supervisor = faulty  # type: ignore[assignment,misc,attr-defined]

if __name__ == "__main__":
    cli.main()
