"""Hold the numbers of models.toml against the hub: scripts/verify_catalog [NAME ...].

Reads the file lists of all repositories and one header of each, some MB. Exit status: 0 all agree,
1 something differs, 2 something could not be asked (HF_ENDPOINT names another hub).
"""

from __future__ import annotations

import sys

from localserve.catalog.registry import shipped_registry
from localserve.catalog.spec import HubFile
from localserve.catalog.verify import differences
from localserve.config import read_settings
from localserve.errors import LocalserveError


def main(names: list[str]) -> int:
    """Print one line for each difference; the exit status."""
    settings = read_settings()
    status = 0
    for spec in shipped_registry():
        if not isinstance(spec.source, HubFile) or (names and spec.name not in names):
            continue
        try:
            found = list(differences(spec, spec.source, settings))
        except LocalserveError as error:
            print(f"{spec.name}: could not be asked: {error}", file=sys.stderr)
            status = 2
            continue
        for line in found:
            print(f"{spec.name}: {line}")
        if not found:
            print(f"{spec.name}: all agrees")
        status = max(status, 1 if found else 0)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
