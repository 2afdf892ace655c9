"""What `localserve up` says of a data folder in which it cannot write. No command of its own."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from localserve.config import Settings
from localserve.server.reports import Note
from localserve.server.running import announcements_folder

OTHER_FOLDER: Final = "LOCALSERVE_DATA_DIR names another folder."


def cannot_write(path: Path, error: OSError) -> str:
    """That a file or folder cannot be written, and why."""
    return f"{path} cannot be written: {error.strerror or error}."


def unannounced_note(error: OSError, settings: Settings) -> Note:
    """That the server is found by no other command."""
    why = cannot_write(announcements_folder(settings), error)
    text = (
        f"{why} `localserve status`, `ps`, `run`, `stop` and the other commands for a running"
        f" server do not find this one; Ctrl-C ends it. {OTHER_FOLDER}"
    )
    return Note(logging.WARNING, text)


def unlogged_note(error: OSError, path: Path) -> Note:
    """That what the server reports is kept nowhere."""
    text = f"Nothing is logged: {cannot_write(path, error)} {OTHER_FOLDER}"
    return Note(logging.WARNING, text)
