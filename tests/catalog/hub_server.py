"""A hub on localhost: the two routes that a download needs, and the ways in which they fail."""

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
    """

    url: str
    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    cut_after_bytes: list[int] = field(default_factory=list)
    refuse: tuple[int, str] | None = None
    ranges: bool = True
    redirect_to: str | None = None
    garbled: bool = False
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
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        hub: Hub = self.server.hub  # type: ignore[attr-defined]
        requested = self.headers.get("Range")
        hub.requests.append(f"{self.path} {requested or ''}".strip())
        host = self.headers["Host"].split(":")[0]
        hub.authorizations.add((host, self.headers.get("Authorization")))
        if hub.garbled:
            self._send(200, b"<html>please log in</html>")
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/?]+)(\?.*)?", self.path):
            self._answer_listing(hub, found[1])
        elif found := re.fullmatch(rf"/([^/]+/[^/]+)/resolve/{COMMIT}/(.+)", self.path):
            self._answer_file(hub, found[1], found[2], requested)
        else:
            self._refuse(404, "EntryNotFound")

    def _answer_listing(self, hub: Hub, repo: str) -> None:
        if repo not in hub.repositories:
            return self._refuse(401, "RepoNotFound")
        siblings = [
            {
                "rfilename": name,
                "size": hub.sizes.get(name, len(content)),
                "blobId": "b10b",
                "lfs": {
                    "sha256": hashlib.sha256(content).hexdigest(),
                    "size": hub.sizes.get(name, len(content)),
                    "pointerSize": 134,
                },
            }
            for name, content in hub.repositories[repo].items()
        ]
        body = {"_id": "1", "id": repo, "sha": COMMIT, "private": False, "siblings": siblings}
        return self._send(200, json.dumps(body).encode())

    def _answer_file(self, hub: Hub, repo: str, name: str, requested: str | None) -> None:
        content = hub.repositories.get(repo, {}).get(name)
        if hub.refuse is not None:
            return self._refuse(*hub.refuse)
        if content is None:
            return self._refuse(404, "EntryNotFound")
        if hub.redirect_to and not self.headers["Host"].startswith("localhost"):
            return self._send(302, b"", {"Location": hub.redirect_to + self.path})
        start = int(requested.removeprefix("bytes=").rstrip("-")) if requested else 0
        if not start or not hub.ranges:
            return self._send(200, content)
        span = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
        return self._send(206, content[start:], span)

    def _refuse(self, status: int, code: str) -> None:
        self._send(status, b"{}", {"X-Error-Code": code})

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        hub: Hub = self.server.hub  # type: ignore[attr-defined]
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if "/resolve/" in self.path and status < 300 and hub.cut_after_bytes:
            body = body[: hub.cut_after_bytes.pop(0)]
            self.close_connection = True
        with suppress(ConnectionError):  # a test may hang up in the middle
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep test output quiet."""
