"""A unit of systemd's user manager. The unit's text is pure.

Source: systemd.service(5), systemd.exec(5), systemd.syntax(7).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from localserve.service.program import NAME, Program
from localserve.service.state import State
from localserve.service.steps import (
    ASK_SECONDS,
    Remove,
    Run,
    ServiceFailed,
    Step,
    Write,
    run,
)

UNIT: Final = f"{NAME}.service"

LINGERING: Final = Path("/var/lib/systemd/linger")
"""Has a file for each user whose services run without a login."""

SANDBOX: Final = """\
# Nothing here keeps graphics cards, models or compiled kernels away.
NoNewPrivileges=yes
LockPersonality=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
"""

NO_SANDBOX: Final = """\
# No sandbox: all that a user's manager has implies NoNewPrivileges, and NVIDIA's driver makes its
# device files by a program that needs privileges (nvidia-modprobe).
"""

PROPERTIES: Final = ("LoadState", "ActiveState", "SubState", "UnitFileState", "MainPID", "Result")

NO_MANAGER: Final = (
    "In a container, let the container run `localserve up` and start it again (docker run --restart"
    " unless-stopped). After su or sudo, log in as that user, or `machinectl shell USER@`."
)


@dataclass(frozen=True, slots=True)
class Systemd:
    """`nvidia` says whether a card of NVIDIA's is here."""

    folder: Path
    nvidia: bool = False
    lingering: Path = LINGERING
    name: ClassVar[str] = "systemd"
    tested: ClassVar[bool] = True

    @property
    def path(self) -> Path:
        return self.folder / UNIT

    def check(self) -> None:
        """Raises: ServiceFailed, where there is no user manager to ask."""
        ended = run(_systemctl("show", "--property=Version"), ASK_SECONDS)
        if ended.status != 0:
            said = ended.output.strip().splitlines()[:1] or ["it says nothing"]
            message = f"systemd has no manager for this user here: {said[0]}"
            raise ServiceFailed(message, hint=NO_MANAGER)

    def install(self, program: Program) -> tuple[Step, ...]:
        return (
            Write(self.path, unit_text(program, nvidia=self.nvidia)),
            Run(_systemctl("daemon-reload")),
            Run(_systemctl("enable", UNIT)),
            Run(_systemctl("reset-failed", UNIT), may_fail=True),
            Run(_systemctl("restart", UNIT)),
        )

    def uninstall(self) -> tuple[Step, ...]:
        return (
            Run(_systemctl("disable", "--now", UNIT), may_fail=True),
            Remove(self.path),
            Run(_systemctl("daemon-reload")),
        )

    def start(self) -> tuple[Step, ...]:
        return (Run(_systemctl("start", UNIT)),)

    def stop(self) -> tuple[Step, ...]:
        return (Run(_systemctl("stop", UNIT)),)

    def state(self) -> State:
        ended = run(_systemctl("show", UNIT, f"--property={','.join(PROPERTIES)}"), ASK_SECONDS)
        found = dict(line.partition("=")[::2] for line in ended.output.splitlines())
        pid = found.get("MainPID", "0")
        detail = " ".join(filter(None, (found.get("ActiveState"), found.get("SubState"))))
        if found.get("Result", "success") not in ("success", ""):
            detail += f", {found['Result']}"
        if ended.status != 0:
            detail = f"systemd does not answer: {' '.join(ended.output.split())}"
        return State(
            manager=self.name,
            path=self.path,
            installed=self.path.exists(),
            running=found.get("ActiveState") in ("active", "reloading"),
            starts_at_login=found.get("UnitFileState") == "enabled",
            pid=int(pid) if pid.isdecimal() and pid != "0" else None,
            detail=detail,
        )

    def hints(self, program: Program) -> Iterator[str]:
        user = os.environ.get("USER") or os.environ.get("LOGNAME") or ""
        yield f"Its log: journalctl --user --unit {NAME} --follow"
        if not (user and (self.lingering / user).exists()):
            yield "It starts when you log in. At boot, too, with: loginctl enable-linger"
        if program.left_out:
            yield (
                f"Secrets that are set here were not written into the unit:"
                f" {', '.join(program.left_out)}. If it needs them: systemctl --user edit {NAME}"
            )


def _systemctl(*arguments: str) -> tuple[str, ...]:
    return ("systemctl", "--user", *arguments)


def unit_text(program: Program, *, nvidia: bool = False) -> str:
    """The unit's file."""
    environment = "".join(
        f"Environment={_quoted(f'{name}={value}')}\n" for name, value in program.environment.items()
    )
    executable, *arguments = program.command
    words = [_quoted(executable), *(_quoted(word).replace("$", "$$") for word in arguments)]
    return f"""\
[Unit]
Description=localserve, an inference server for this machine
StartLimitIntervalSec=300
StartLimitBurst=5

[Service]
Type=exec
ExecStart={" ".join(words)}
# Reads models.toml again.
ExecReload=/bin/kill -HUP $MAINPID
WorkingDirectory=~
{environment}Restart=on-failure
RestartSec=5
# Wrong usage is wrong the next time, too.
RestartPreventExitStatus=2
# The server ends its worker itself, when running answers have ended.
KillMode=mixed
TimeoutStopSec={program.stop_seconds}
# A worker that runs out of memory is replaced by the server.
OOMPolicy=continue
# A core would be as large as the models, with what was asked in it.
LimitCORE=0
UMask=0077
{NO_SANDBOX if nvidia else SANDBOX}
[Install]
WantedBy=default.target
"""


def _quoted(word: str) -> str:
    """A word of a unit: quoted where it must be, and `%` no specifier."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    escaped = escaped.replace("\n", "\\n").replace("\t", "\\t")
    plain = word and not any(character in " \t\n\"'\\;" for character in word)
    return escaped if plain else f'"{escaped}"'
