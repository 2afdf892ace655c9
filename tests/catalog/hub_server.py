"""A hub on localhost: the routes that downloads and header reads need, and how they may fail."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """What the server has and how it behaves; tests change it while it runs.

    `cut_after_bytes` ends so many coming file answers early, one entry each. `refuse` answers a
    repository's files with (status, X-Error-Code). `redirect_to` sends clients to another origin
    for the files, as a hub with a content network does; `authorizations` tells the origins apart.
    `busy` answers so many coming requests with (status, headers). `checksums` are told instead of
    the true ones; files of `in_git` are no LFS files. `hold_after_bytes` keeps so many coming file
    answers waiting after so many bytes, until `released` is set. `proxied` are requests for other
    hosts. `versions` are contents that coming file answers have instead, one entry each. `ranges`
    off answers with whole files; `wrong_range` is what Content-Range says then; `encoding` what
    Content-Encoding says. `/plain/OWNER/REPO/FILE` is a file outside the hub's own addresses.
    """

    url: str
    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    cut_after_bytes: list[int] = field(default_factory=list)
    refuse: tuple[int, str] | None = None
    ranges: bool = True
    redirect_to: str | None = None
    garbled: bool = False
    etags: bool = True
    versions: list[bytes] = field(default_factory=list)
    busy: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    checksums: dict[str, str] = field(default_factory=dict)
    in_git: set[str] = field(default_factory=set)
    hold_after_bytes: list[int] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)
    proxied: list[str] = field(default_factory=list)
    wrong_range: str | None = None
    encoding: str | None = None
    requests: list[str] = field(default_factory=list)
    authorizations: set[tuple[str, str | None]] = field(default_factory=set)


@contextmanager
def serve_hub() -> Iterator[Hub]:
    """Run a hub in a thread for as long as the block lasts."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.hub = Hub(f"http://127.0.0.1:{server.server_port}")  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.hub  # type: ignore[attr-defined]
    finally:
        server.hub.released.set()  # type: ignore[attr-defined]
        server.shutdown()
        thread.join()
        server.server_close()


_HUB_FILE = re.compile(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)")
_PLAIN_FILE = re.compile(r"/plain/([^/]+/[^/]+)/([^?]+)(?:\?.*)?")


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        hub: Hub = self.server.hub  # type: ignore[attr-defined]
        if self.path.startswith("http://"):
            hub.proxied.append(self.path)
            self.path = "/" + self.path.split("/", 3)[3]
        requested = self.headers.get("Range")
        hub.requests.append(f"{self.path} {requested or ''}".strip())
        host = self.headers["Host"].split(":")[0]
        hub.authorizations.add((host, self.headers.get("Authorization")))
        if hub.busy:
            status, headers = hub.busy.pop(0)
            self._send(status, b"{}", headers)
        elif hub.garbled:
            self._send(200, b"<html>please log in</html>")
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/?]+)(\?.*)?", self.path):
            self._answer_listing(hub, found[1])
        elif found := _HUB_FILE.fullmatch(self.path) or _PLAIN_FILE.fullmatch(self.path):
            self._answer_file(hub, found[1], found[2], requested)
        else:
            self._refuse(404, "EntryNotFound")

    def _answer_listing(self, hub: Hub, repo: str) -> None:
        if repo not in hub.repositories:
            return self._refuse(401, "RepoNotFound")
        files = hub.repositories[repo].items()
        siblings = [self._sibling(hub, name, content) for name, content in files]
        body = {"_id": "1", "id": repo, "sha": COMMIT, "private": False, "siblings": siblings}
        return self._send(200, json.dumps(body).encode())

    def _sibling(self, hub: Hub, name: str, content: bytes) -> dict[str, Any]:
        size = hub.sizes.get(name, len(content))
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        about = {"rfilename": name, "size": size, "blobId": hub.checksums.get(name, blob)}
        if name not in hub.in_git:
            sha256 = hub.checksums.get(name, hashlib.sha256(content).hexdigest())
            about["lfs"] = {"sha256": sha256, "size": size, "pointerSize": 134}
        return about

    def _answer_file(self, hub: Hub, repo: str, name: str, requested: str | None) -> None:
        content = hub.repositories.get(repo, {}).get(name)
        if hub.refuse is not None:
            return self._refuse(*hub.refuse)
        if content is None:
            return self._refuse(404, "EntryNotFound")
        if hub.redirect_to and not self.headers["Host"].startswith("localhost"):
            linked = f'"{hub.checksums.get(name, hashlib.sha256(content).hexdigest())}"'
            headers = {"Location": hub.redirect_to + self.path, "X-Linked-ETag": linked}
            return self._send(302, b"", headers)
        if hub.versions:
            content = hub.versions.pop(0)
        headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"'} if hub.etags else {}
        if hub.encoding:
            headers["Content-Encoding"] = hub.encoding
        if headers.get("ETag") and self.headers.get("If-None-Match") == headers["ETag"]:
            return self._send(304, b"", headers)
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", requested or "")
        other_version = self.headers.get("If-Range", headers.get("ETag")) != headers.get("ETag")
        if span is None or not hub.ranges or other_version:
            return self._send(200, content, headers)
        start, last = int(span[1]), int(span[2] or len(content) - 1)
        if start >= len(content):
            return self._send(416, b"", {"Content-Range": f"bytes */{len(content)}"})
        part = content[start : last + 1]
        sent = f"bytes {start}-{start + len(part) - 1}/{len(content)}"
        return self._send(206, part, headers | {"Content-Range": hub.wrong_range or sent})

    def _refuse(self, status: int, code: str) -> None:
        self._send(status, b"{}", {"X-Error-Code": code})

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        hub: Hub = self.server.hub  # type: ignore[attr-defined]
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        is_file = "/resolve/" in self.path or self.path.startswith("/plain/")
        with suppress(ConnectionError):  # a test may hang up in the middle
            if is_file and status < 300 and len(body) > 1 and hub.hold_after_bytes:
                held = hub.hold_after_bytes.pop(0)
                self.wfile.write(body[:held])
                self.wfile.flush()
                hub.released.wait(30)
                body = body[held:]
            if is_file and status < 300 and len(body) > 1 and hub.cut_after_bytes:
                body = body[: hub.cut_after_bytes.pop(0)]
                self.close_connection = True
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep test output quiet."""
