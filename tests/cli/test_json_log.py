"""Logs that programs read: whole lines, whatever befalls what they go to."""

from __future__ import annotations

import errno
import io
import json
import logging
import re
from pathlib import Path

from localserve.cli.json_log import JsonLog
from localserve.cli.log_file import LogFile
from localserve.cli.offer import Fetching, Question
from localserve.cli.terminal import Lasting
from localserve.config import read_settings
from localserve.server.reports import Answered, Live, Note
from localserve.server.running import log_path
from tests.cli.test_screen import Failing

URL = "http://127.0.0.1:1"


def test_every_line_is_an_object_and_what_is_for_people_is_none() -> None:
    out = io.StringIO()
    log = JsonLog(URL, Lasting(out))
    for told in (
        Live(),
        Question("Download?"),
        Fetching("file", 0.5),
        Answered("x", {"status": 200}),
        Note(logging.WARNING, "[b]two\nlines\x1b"),
    ):
        log.show(told)
    assert log.close()
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["live", "request", "log"]
    assert lines[0]["url"] == URL
    assert lines[2]["message"] == "[b]two\nlines\x1b"
    assert out.getvalue().isascii()


def test_a_stream_that_fails_ends_nothing() -> None:
    out = Failing(errno.ENOSPC)
    log = JsonLog(URL, Lasting(out))
    log.show(Answered("lost"))
    assert not log.close()
    out.error = None
    log = JsonLog(URL, Lasting(out))
    log.show(Answered("written"))
    assert log.close()
    assert json.loads(out.getvalue())["message"] == "written"


def test_in_a_file_the_lines_are_json_alone(tmp_path: Path) -> None:
    settings = read_settings(environ={"LOCALSERVE_HOME": str(tmp_path)})
    path = tmp_path / "server.log"
    file = LogFile(path, settings, dated=False)
    log = JsonLog(URL, Lasting(file))
    log.show(Live())
    assert log.close()
    file.close()
    assert json.loads(path.read_text())["event"] == "live"


def test_the_collectors_configuration_follows_the_log_and_nothing_that_was_put_aside(
    tmp_path: Path,
) -> None:
    text = (Path(__file__).parent.parent.parent / "docs" / "vector.yaml").read_text()
    found = re.search(r'include: \["\$\{LOCALSERVE_DATA_DIR\}/(.+)"\]', text)
    assert found is not None
    settings = read_settings(environ={"LOCALSERVE_HOME": str(tmp_path)})
    log = log_path(settings, 8080)
    log.parent.mkdir(parents=True)
    for name in (log.name, f"{log.name}.2026-11-26-001", f"{log.name}.2026-11-26-001.gz"):
        (log.parent / name).touch()
    assert list(settings.data_dir.glob(found[1])) == [log]
