"""Where programs keep their files, on each system. Any thread; looks at the disk.

Tried on Linux. The places on macOS and Windows are those that the clients' documents name.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

System = Literal["linux", "mac", "windows"]

EXTENSION_FOLDERS: Final = (
    ".vscode/extensions",
    ".vscode-insiders/extensions",
    ".vscode-oss/extensions",
    ".vscode-server/extensions",
    ".cursor/extensions",
    ".windsurf/extensions",
)
"""Where editors of the family of VS Code keep extensions, in the home folder."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """A user's account: system, home folder, environment."""

    system: System
    home: Path
    environ: Mapping[str, str] = field(repr=False)

    @property
    def tested(self) -> bool:
        """Whether the places on this system have been tried."""
        return self.system == "linux"

    def expand(self, text: str) -> Path:
        """A path that begins with {home}, {config}, {appdata} or {localappdata}."""
        given, home = self.environ, self.home
        return Path(
            text.format(
                home=home,
                config=given.get("XDG_CONFIG_HOME") or home / ".config",
                appdata=given.get("APPDATA") or home / "AppData" / "Roaming",
                localappdata=given.get("LOCALAPPDATA") or home / "AppData" / "Local",
            )
        )

    def has_program(self, name: str) -> bool:
        """Whether it can be started by its name."""
        return shutil.which(name, path=self.environ.get("PATH", "")) is not None

    def has_extension(self, name: str) -> bool:
        """Whether an editor has the extension PUBLISHER.NAME."""
        folders = (self.home / folder for folder in EXTENSION_FOLDERS)
        return any(any(folder.glob(f"{name}-*")) for folder in folders)


def this_account() -> Surroundings:
    """The user's who runs this."""
    system: System = {"win32": "windows", "darwin": "mac"}.get(sys.platform, "linux")  # type: ignore[assignment]
    return Surroundings(system, Path.home(), dict(os.environ))


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of a program; of several the first that exists, else the first.

    Without a place of their own, macOS and Windows have that of Linux. `variable` is the name of
    an environment variable that moves it.
    """

    linux: tuple[str, ...]
    mac: tuple[str, ...] = ()
    windows: tuple[str, ...] = ()
    variable: str | None = None

    def candidates(self, account: Surroundings) -> tuple[Path, ...]:
        """Where it can be."""
        if self.variable and (moved := account.environ.get(self.variable)):
            return (Path(moved),)
        texts: Iterable[str] = {
            "linux": self.linux,
            "mac": self.mac or self.linux,
            "windows": self.windows or self.linux,
        }[account.system]
        return tuple(map(account.expand, texts))

    def find(self, account: Surroundings) -> Path:
        """Where it is, or where the program would make it."""
        candidates = self.candidates(account)
        return next((path for path in candidates if path.is_dir()), candidates[0])

    def exists(self, account: Surroundings) -> bool:
        return any(path.is_dir() for path in self.candidates(account))
