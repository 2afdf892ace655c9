"""Users of Locust: streamed chats, completions and embeddings, in any mixture.

    locust -f benchmarks/locustfile.py --host http://127.0.0.1:8080
    locust -f benchmarks/locustfile.py --host http://127.0.0.1:8080 --headless \\
        --users 8 --spawn-rate 2 --run-time 2m --max-tokens 64
    locust -f benchmarks/locustfile.py --host http://127.0.0.1:8080 CompletionUser

The last has users of one kind alone. The time to the first token of a chat has a line of its own,
of the type TTFT; the chat's own line is the whole answer. Users who embed come with
`--embedding-model NAME` only: a model that chats makes no vectors. The key is the variable
LOCALSERVE_API_KEY. For steps and objectives see `localserve bench`.
"""

from __future__ import annotations

import os
import random
from time import perf_counter
from typing import Any

from locust import HttpUser, between, events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from requests import RequestException

from localserve.loadtest.answer import Exchange, Failure, read_exchange

WORDS = ("river", "window", "seven", "market", "letter", "garden", "engine", "winter", "silver")
PROMPT_WORDS = 100
KEY = "LOCALSERVE_API_KEY"


@events.init_command_line_parser.add_listener
def add_options(parser: LocustArgumentParser) -> None:
    """What is asked of which models."""
    parser.add_argument("--model", default="", help="The model [the server's default].")
    parser.add_argument("--embedding-model", default="", help="Without it nobody embeds.")
    parser.add_argument("--max-tokens", type=int, default=64, help="Of an answer.")


@events.init.add_listener
def leave_out_embeddings(environment: Environment, **_: Any) -> None:
    """No users who embed where there is no model that does."""
    options = environment.parsed_options
    if not options.embedding_model and EmbeddingUser in environment.user_classes:
        environment.user_classes.remove(EmbeddingUser)


def new_text() -> str:
    """A text that no server has seen."""
    return f"{random.getrandbits(64):x} {' '.join(random.choices(WORDS, k=PROMPT_WORDS))}."


class ModelUser(HttpUser):
    """Waits up to a second between two requests, as programs do."""

    abstract = True
    wait_time = between(0, 1)

    def on_start(self) -> None:
        if key := os.environ.get(KEY):
            self.client.headers["authorization"] = f"Bearer {key}"

    def body(self, model: str, **fields: object) -> dict[str, object]:
        """A request for a model, or for the server's default."""
        return {**fields, "model": model} if model else fields

    @property
    def options(self) -> Any:
        """What was said on the command line."""
        return self.environment.parsed_options


class ChatUser(ModelUser):
    """Reads answers as they come."""

    weight = 3

    @task
    def chat(self) -> None:
        body = self.body(
            self.options.model,
            messages=[{"role": "user", "content": f"{new_text()} Tell a story with these words."}],
            max_tokens=self.options.max_tokens,
            stream=True,
            stream_options={"include_usage": True},
        )
        path = "/v1/chat/completions"
        sent = perf_counter()
        with self.client.post(path, json=body, stream=True, catch_response=True) as response:
            reads: list[tuple[float, bytes]] = []
            broken = None
            try:
                pieces = response.iter_content(chunk_size=None)
                reads.extend((perf_counter(), piece) for piece in pieces)
            except RequestException as error:
                broken = str(error) or type(error).__name__
            status = response.status_code or None
            found = read_exchange(Exchange(sent, perf_counter(), status, reads, broken))
            if isinstance(found, Failure):
                response.failure(f"{found.reason}: {found.message}")
                return
            # By itself Locust counts up to the head of a response that is streamed.
            response.request_meta["response_time"] = found.total_seconds * 1e3
            response.success()
        self.environment.events.request.fire(
            request_type="TTFT",
            name=path,
            response_time=found.first_token_seconds * 1e3,
            response_length=0,
            exception=None,
            context={},
        )


class CompletionUser(ModelUser):
    """Has a text continued, whole."""

    weight = 1

    @task
    def complete(self) -> None:
        max_tokens = self.options.max_tokens
        body = self.body(self.options.model, prompt=new_text(), max_tokens=max_tokens)
        self.client.post("/v1/completions", json=body)


class EmbeddingUser(ModelUser):
    """Has four texts made vectors."""

    weight = 1

    @task
    def embed(self) -> None:
        texts = [new_text() for _ in range(4)]
        self.client.post(
            "/v1/embeddings", json=self.body(self.options.embedding_model, input=texts)
        )
