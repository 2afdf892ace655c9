"""A server that answers from a table, for commands that ask the running one."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

from localserve.config import Settings
from localserve.server.running import RunningServer, announced, running_servers


class FakeServer:
    """Answers with `answers[path]` (a status and what is said: bytes as they are, else as JSON),
    everything else with `status` and `document`. `requests` are what came, `keys` with which keys.
    """

    def __init__(self, document: object) -> None:
        self.status = 200
        self.document = document
        self.answers: dict[str, tuple[int, object]] = {}
        self.requests: list[tuple[str, object]] = []
        self.keys: list[str | None] = []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.do_POST()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                fake.requests.append((self.path, json.loads(body) if body else None))
                fake.keys.append(self.headers.get("authorization"))
                status, said = fake.answers.get(self.path, (fake.status, fake.document))
                content = said if isinstance(said, bytes) else json.dumps(said).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *arguments: object) -> None:
                pass

        self.http = HTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.http.server_port
        self.url = f"http://127.0.0.1:{self.port}"


@contextmanager
def announced_fake(settings: Settings, document: object) -> Iterator[FakeServer]:
    """A server that this process says it is."""
    server = FakeServer(document)
    thread = threading.Thread(target=server.http.serve_forever)
    thread.start()
    with announced(settings, server.url, server.port, "chat", "ls-key"):
        yield server
    server.http.shutdown()
    thread.join()
    server.http.server_close()


def only_server(settings: Settings) -> RunningServer:
    """The one that runs, as commands find it."""
    (server,) = running_servers(settings)
    return server
