"""`python -m benchmarks`: the command line, or what to install where a package is missing."""

from __future__ import annotations

import sys

from benchmarks import INSTALL


def main() -> int:
    """Run the command line; returns 1 where a package of the group is missing."""
    try:
        import typer

        from benchmarks.run import main as measure
    except ModuleNotFoundError as missing:
        print(f"error: benchmarks need the package {missing.name}. {INSTALL}", file=sys.stderr)
        return 1
    typer.run(measure)
    return 0


if __name__ == "__main__":
    sys.exit(main())
