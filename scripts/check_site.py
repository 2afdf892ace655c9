"""Says what is wrong with the built pages of the documentation.

    .venv/bin/python scripts/check_site.py build/docs

Each link inside must lead to a page and a place in it; nothing may be loaded from another host.
Exit status: 0 nothing, 1 something.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
"""What a browser loads by itself, by the attribute that has the address."""

NOT_LOADED = {"canonical", "next", "prev", "alternate"}
"""Relations of a <link> that are only told."""


class _Page(HTMLParser):
    """The places that a page has, and where it leads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.places: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.places.add(given.get("id", ""))
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag in LOADED and given.get("rel") not in NOT_LOADED:
            self.loads.append(given.get(LOADED[tag], ""))


def problems_of(site: Path) -> Iterator[str]:
    """What is wrong, a line each."""
    pages = {path: _Page(path.read_text()) for path in sorted(site.rglob("*.html"))}
    if not pages:
        yield f"{site} has no pages."
    for path, page in pages.items():
        if path.name == "404.html":
            continue  # its addresses are those of wherever it is served
        name = path.relative_to(site)
        for link in page.loads:
            if _is_elsewhere(link):
                yield f"{name}: loads {link}"
            elif link and not _file(site, path, link).exists():
                yield f"{name}: loads {link}, which is not there"
        for link in page.links:
            if not _is_elsewhere(link) and (problem := _broken(site, path, link, pages)):
                yield f"{name}: {problem}"
    for path in site.rglob("*.css"):
        if "url(http" in path.read_text() or "url(//" in path.read_text():
            yield f"{path.relative_to(site)}: loads from another host"


def _broken(site: Path, path: Path, link: str, pages: dict[Path, _Page]) -> str | None:
    target = _file(site, path, link)
    if not target.is_file():
        return f"{link} leads nowhere"
    place = unquote(urlsplit(link).fragment)
    if place and target in pages and place not in pages[target].places:
        return f"{link} leads to no place of that page"
    return None


def _is_elsewhere(link: str) -> bool:
    parts = urlsplit(link)
    return bool(parts.scheme or parts.netloc)


def _file(site: Path, path: Path, link: str) -> Path:
    """What a link of a page leads to."""
    where = unquote(urlsplit(link).path)
    if not where:
        return path
    target = (site / where.lstrip("/") if where.startswith("/") else path.parent / where).resolve()
    return target / "index.html" if target.is_dir() else target


def main(arguments: list[str]) -> int:
    found = list(problems_of(Path(arguments[0]).resolve()))
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
