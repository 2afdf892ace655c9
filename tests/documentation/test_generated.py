"""The pages that say what the code says are those that the code would write now."""

from __future__ import annotations

from tests.documentation.blocks import ROOT, generator


def test_the_written_pages_are_fresh() -> None:
    stale = [
        name
        for name, text in generator().pages().items()
        if not (ROOT / "docs" / name).is_file() or (ROOT / "docs" / name).read_text() != text
    ]
    assert stale == [], "run .venv/bin/python scripts/generate_docs.py"


def test_no_page_of_a_client_that_is_gone_stays() -> None:
    pages = {f"docs/{name}" for name in generator().pages()}
    there = (ROOT / "docs" / "clients").glob("*.md")
    assert {path.relative_to(ROOT).as_posix() for path in there} <= pages


def test_the_pages_of_clients_name_no_folder_of_this_machine() -> None:
    for name, text in generator().pages().items():
        assert "/root" not in text, name
        assert "/home/" not in text, name


def test_every_written_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "zensical.toml").read_text()
    assert [name for name in generator().pages() if f'"{name}"' not in navigation] == []
