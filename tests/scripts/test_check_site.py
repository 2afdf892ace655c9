"""scripts/check_site.py: links that lead nowhere, and what pages would load from elsewhere."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

from tests.scripts.conftest import SCRIPTS


@pytest.fixture
def check_site(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("check_site")


def site(folder: Path, **pages: str) -> Path:
    for name, text in pages.items():
        (folder / f"{name}.html").write_text(text)
    return folder


def test_links_to_pages_places_and_other_hosts_are_fine(
    check_site: ModuleType, tmp_path: Path
) -> None:
    site(
        tmp_path,
        a='<a href="b.html#x">b</a> <a href="#y">y</a><p id="y"> <a href="https://example.org">',
        b='<p id="x"><a href=".">none</a>',
        index="",
    )
    assert list(check_site.problems_of(tmp_path)) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('<a href="gone.html">', "gone.html leads nowhere"),
        ('<a href="a.html#gone">', "leads to no place"),
        ('<script src="https://example.org/x.js">', "loads https://example.org/x.js"),
        ('<link rel="stylesheet" href="//example.org/x.css">', "loads //example.org/x.css"),
        ('<img src="gone.png">', "which is not there"),
    ],
)
def test_what_is_wrong_is_told(
    check_site: ModuleType, tmp_path: Path, text: str, problem: str
) -> None:
    (found,) = check_site.problems_of(site(tmp_path, a=text))
    assert found.startswith("a.html: ")
    assert problem in found


def test_a_style_sheet_that_loads_from_elsewhere_is_told(
    check_site: ModuleType, tmp_path: Path
) -> None:
    (site(tmp_path, a="") / "x.css").write_text("@font-face { src: url(https://example.org/f) }")
    assert list(check_site.problems_of(tmp_path)) == ["x.css: loads from another host"]


def test_an_empty_folder_is_no_site(
    check_site: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check_site.main([str(tmp_path)]) == 1
    assert "has no pages" in capsys.readouterr().out
