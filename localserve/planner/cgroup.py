"""The control groups that this process is in, versions 1 and 2. Knows nothing of what they limit.

A limit may stand at any group on the path to the root, and the smallest one counts.
Source: proc(5), cgroups(7), the kernel's admin-guide/cgroup-v1 and cgroup-v2.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass

from localserve.planner.readings import Readings


@dataclass(frozen=True, slots=True)
class Group:
    """One group of the path: where its files are, and of which version (1 or 2) they are."""

    path: str
    version: int


def groups(readings: Readings, controller: str) -> list[Group]:
    """The groups of this process that have a controller ("memory", "cpu"), innermost first."""
    paths = dict(_own_paths(readings))
    found = []
    for version, mount_root, mount_point, options in _mounts(readings):
        if version == 1 and controller not in options.split(","):
            continue
        own = paths.get(controller if version == 1 else "")
        if own is None:
            continue
        # Seen from a container without a namespace of its own, the mount shows a part of the tree.
        inside = posixpath.relpath(own, mount_root) if _within(own, mount_root) else "."
        found += [Group(path, version) for path in _upwards(mount_point, inside)]
    return found


def number(readings: Readings, group: Group, name: str) -> int | None:
    """A number of a group; None where the file is missing or says 'max'."""
    text = readings.text(f"{group.path}/{name}")
    try:
        return int(text) if text else None
    except ValueError:
        return None


def statistics(readings: Readings, group: Group, name: str) -> dict[str, int]:
    """A file of lines such as 'inactive_file 1234'."""
    found = {}
    for line in (readings.text(f"{group.path}/{name}") or "").splitlines():
        key, _, value = line.partition(" ")
        if value.isdecimal():
            found[key] = int(value)
    return found


def _own_paths(readings: Readings) -> Iterator[tuple[str, str]]:
    """Controller and path; the controller of version 2 is ''."""
    for line in (readings.text("/proc/self/cgroup") or "").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        for controller in controllers.split(","):
            yield controller, path


def _mounts(readings: Readings) -> Iterator[tuple[int, str, str, str]]:
    """Version, root within the tree, mount point and options of each mounted hierarchy."""
    for line in (readings.text("/proc/self/mountinfo") or "").splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) > 4 and len(kind) > 2 and kind[0] in ("cgroup", "cgroup2"):
            version = 2 if kind[0] == "cgroup2" else 1
            yield version, _unescape(fields[3]), _unescape(fields[4]), kind[2]


def _unescape(path: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), path)


def _within(path: str, root: str) -> bool:
    return posixpath.commonpath([path, root]) == root if path.startswith("/") else False


def _upwards(mount_point: str, inside: str) -> Iterator[str]:
    while inside not in ("", ".", "/"):
        yield posixpath.join(mount_point, inside)
        inside = posixpath.dirname(inside)
    yield mount_point
