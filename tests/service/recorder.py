"""A folder of programs that remember how they were called, and answer what they are told to."""

from __future__ import annotations

from pathlib import Path

_PROGRAM = r"""#!/bin/sh
here=${0%/*}
call="${0##*/} $*"
printf '%s\n' "$call" >> "$here/calls.txt"
while IFS='|' read -r words status text; do
    meant=yes
    for word in $words; do
        case " $call " in *" $word "*) ;; *) meant= ;; esac
    done
    if [ -n "$meant" ]; then
        printf '%b\n' "$text"
        exit "$status"
    fi
done < "$here/answers.txt"
"""


class Recorder:
    """Programs in a folder that is to be put on PATH. Whatever was not answered is status 0."""

    def __init__(self, folder: Path, *programs: str) -> None:
        self._folder = folder
        folder.mkdir()
        (folder / "calls.txt").touch()
        (folder / "answers.txt").touch()
        for name in programs:
            path = folder / name
            path.write_text(_PROGRAM)
            path.chmod(0o755)

    def answer(self, words: str, text: str = "", status: int = 0) -> None:
        """What is said from now on to a call that has all these words."""
        with (self._folder / "answers.txt").open("a") as answers:
            escaped = text.replace("\n", "\\n")
            answers.write(f"{words}|{status}|{escaped}\n")

    @property
    def calls(self) -> list[str]:
        """All calls so far, as typed."""
        return (self._folder / "calls.txt").read_text().splitlines()
