"""The process that serves: one event loop, the web server, the model manager.

Started by the supervisor as `python -m localserve.server.worker`; gets its arguments and then
orders through stdin, and tells what happens on stdout. It ends when told to (by an order or a
signal), when its model cannot be loaded, or when its supervisor is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import logging
import os
import pickle
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import replace
from weakref import WeakSet

import psutil

from localserve.backends import embedding, local, remote
from localserve.backends.base import Backend
from localserve.catalog.registry import Registry, load_registry, shipped_registry
from localserve.catalog.routes import RouteTable, load_routes
from localserve.catalog.spec import ModelSpec, RemoteEngine
from localserve.config import Settings
from localserve.errors import EngineFailed, LocalserveError
from localserve.manager import ModelManager, Progress
from localserve.manager.estimate import FileEstimate
from localserve.manager.ledger import Ledger
from localserve.manager.library import DiskLibrary
from localserve.manager.need import Need
from localserve.manager.offer import DiskOffer
from localserve.manager.room import MachineRoom
from localserve.planner.plan import wanted_of
from localserve.planner.usage import RAM
from localserve.prompting.sandbox import TemplateProcess
from localserve.server.app import create_app
from localserve.server.orders import Order, read_orders
from localserve.server.process import RELOAD_SIGNALS, STOP_SIGNALS, WorkerArguments
from localserve.server.records import RequestRecord
from localserve.server.reporter import Reporter, ReportHandler
from localserve.server.reports import (
    Aborting,
    Answered,
    DefaultChanged,
    Live,
    Loaded,
    LoadFailed,
    LoadProgress,
    Reloaded,
)
from localserve.server.request_lines import format_record, is_probe, request_fields
from localserve.server.router import Router
from localserve.server.supervisor import GRACE_SECONDS, LOAD_FAILED_STATUS
from localserve.server.web import WebServer

log = logging.getLogger(__name__)

SWITCH_SECONDS = 0.0005
"""How long a thread may keep the interpreter: the engine thread must not wait for the loop."""

GOODBYE_SECONDS = 1.0
"""How long an abort waits for running streams to be told."""

SELF_DESTRUCT_SECONDS = 5.0
"""A worker that should have been killed ends itself so much later: its supervisor is gone."""


class Worker:
    """Everything of one worker process, put together."""

    def __init__(self, arguments: WorkerArguments, reporter: Reporter) -> None:
        self._settings = arguments.settings
        self._reporter = reporter
        self._failed = False
        self._nowhere = open(os.devnull, "w")  # noqa: SIM115 (open as long as the process lives)
        self._templates = TemplateProcess()
        self._backends: WeakSet[local.LocalBackend | embedding.EmbeddingBackend] = WeakSet()
        self._served = False
        settings = self._settings
        limit = settings.model_ram_bytes
        ledger = Ledger({RAM: limit} if limit is not None else {})
        room = MachineRoom(settings)
        self._offer = DiskOffer(settings, _registry(settings))
        self._manager = ModelManager(
            arguments.spec,
            self._load,
            offer=self._offer,
            estimate=FileEstimate(
                self._options_of, room.look, lambda: ledger.held, lambda: self._offer.registry
            ),
            room=room,
            ledger=ledger,
            memory_wait_seconds=settings.memory_wait_seconds,
            keep_alive_seconds=settings.unload_after_seconds,
            on_failure=self._on_failure,
            on_default=lambda spec: reporter.report(DefaultChanged(spec)),
            max_waiting=settings.max_waiting,
        )
        app = create_app(
            self._manager,
            self._settings,
            reload=self._reload,
            library=DiskLibrary(settings, self._offer),
            owner_key=arguments.owner_key,
            on_request=self._tell_request,
            routes=_routes(settings),
            look=room.look,
        )
        self._router: Router = app.state.router
        self._server = WebServer(app, self._settings, lambda: reporter.report(Live()))
        self._reloading = asyncio.Lock()
        self._reloads: set[asyncio.Task[None]] = set()

    async def serve(self, sockets: list[socket.socket], orders: Iterable[bytes]) -> bool:
        """Serve until told to stop; returns whether all was well."""
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._obey, args=(orders, loop), name="orders", daemon=True).start()
        await self._server.serve(sockets)
        await self._templates.close()
        return not self._failed

    def _tell_request(self, record: RequestRecord) -> None:
        if is_probe(record) and not log.isEnabledFor(logging.DEBUG):
            return
        fields = request_fields(record) if self._settings.log_format == "json" else {}
        self._reporter.report(Answered(format_record(record), fields))

    def stop(self) -> None:
        """Let running answers end within the drain time, then end. From any thread."""
        patience = self._settings.drain_seconds + GRACE_SECONDS + SELF_DESTRUCT_SECONDS
        # Works without the interpreter's lock, so also within a call that never returns.
        faulthandler.dump_traceback_later(patience, exit=True, file=self._nowhere)
        self._server.stop()

    def _obey(self, lines: Iterable[bytes], loop: asyncio.AbstractEventLoop) -> None:
        for order in read_orders(lines):
            match order:
                case Order.STOP:
                    self.stop()
                case Order.RELOAD:
                    with contextlib.suppress(RuntimeError):  # the loop has ended
                        loop.call_soon_threadsafe(self._reload_soon)

    def _options_of(self, spec: ModelSpec) -> local.LoadOptions:
        """What the user decided. The command line's context is the default model's: others have
        their own, or what models.toml says."""
        settings = self._settings
        wanted, default = wanted_of(settings), self._manager.is_default(spec)
        return local.LoadOptions(
            wanted=wanted if default else replace(wanted, context_tokens=None),
            threads=settings.threads,
            max_waiting=settings.max_waiting,
            step_budget_seconds=(
                None if settings.step_budget_ms is None else settings.step_budget_ms / 1e3
            ),
            default_max_tokens=settings.default_max_tokens,
            share_prefixes=settings.share_prefixes,
            settings=settings,
        )

    async def _load(self, spec: ModelSpec, need: Need, progress: Progress) -> Backend:
        began = time.monotonic()
        loop = asyncio.get_running_loop()

        def report(share: float) -> None:
            progress(share)
            self._reporter.report(LoadProgress(spec.name, share))

        def on_abort(reason: str) -> None:
            self._say_goodbye(reason, loop)

        options, placed = self._options_of(spec), need.placed
        if isinstance(spec.source, RemoteEngine):
            return self._loaded(spec, await remote.connect(spec), began)
        backend: local.LocalBackend | embedding.EmbeddingBackend
        if need.runtime.pooling is not None:
            backend = await embedding.load(spec, options, report, placed=placed, on_abort=on_abort)
        else:
            backend = await local.load(
                spec, options, report, self._templates, placed=placed, on_abort=on_abort
            )
        self._backends.add(backend)
        return self._loaded(spec, backend, began)

    def _loaded(self, spec: ModelSpec, backend: Backend, began: float) -> Backend:
        """Tell of it."""
        seconds = time.monotonic() - began
        memory_bytes = psutil.Process().memory_info().rss
        default = self._manager.is_default(spec)
        self._served = self._served or default
        self._reporter.report(Loaded(backend.facts, seconds, memory_bytes, default))
        return backend

    def _on_failure(self, spec: ModelSpec, error: LocalserveError) -> None:
        """Without its default model a server that never had it says why, and ends."""
        if spec.name != self._manager.spec.name or self._served:
            log.error("%s", error)
            return
        self._failed = True
        self._reporter.report(LoadFailed(error.message, error.hint))
        self.stop()

    def _say_goodbye(self, reason: str, loop: asyncio.AbstractEventLoop) -> None:
        """llama.cpp aborts the process when this returns; runs on the thread that failed."""
        self._reporter.report(Aborting(reason))
        told = threading.Event()

        def break_all() -> None:
            for backend in self._backends:
                backend.break_all(EngineFailed(f"llama.cpp gave up: {reason}"))
            loop.call_later(GOODBYE_SECONDS / 4, told.set)

        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(break_all)
            told.wait(GOODBYE_SECONDS)
        self._reporter.flush(GOODBYE_SECONDS)

    async def _reload(self) -> None:
        """Read models.toml again. Raises: ConfigInvalid; then all stays as it was."""
        async with self._reloading:
            try:
                registry = await asyncio.to_thread(load_registry, self._settings)
                routes = await asyncio.to_thread(load_routes, self._settings)
            except LocalserveError as error:
                log.error("models.toml stays as it was: %s", error)
                raise
            self._offer.reconfigure(registry)
            self._manager.reconfigure(registry)
            self._router.reconfigure(routes)
            self._reporter.report(Reloaded(self._manager.spec))
            log.info("models.toml was read again: %d models", len(registry))

    def _reload_soon(self) -> None:
        async def reload() -> None:
            with contextlib.suppress(LocalserveError):
                await self._reload()

        task = asyncio.create_task(reload(), name="reload")
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)


def main() -> None:
    """The worker process."""
    try:
        arguments: WorkerArguments = pickle.load(sys.stdin.buffer)
    except (EOFError, pickle.UnpicklingError):
        return  # the supervisor is gone already
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a stray print must not look like a report
    reporter = Reporter(out)
    level = arguments.settings.log_level.upper()
    logging.basicConfig(level=level, handlers=[ReportHandler(reporter)], format="%(message)s")
    logging.getLogger("uvicorn").setLevel(max(logging.WARNING, logging.getLevelName(level)))
    sys.setswitchinterval(SWITCH_SECONDS)
    sockets = [_take_over(one) for one in arguments.sockets]
    worker = Worker(arguments, reporter)
    _take_signals(worker)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        well = runner.run(worker.serve(sockets, sys.stdin.buffer))
        reporter.flush(GOODBYE_SECONDS)
        # Neither threads of libraries nor a prompt that is still being tokenized for a client that
        # was told off must hold up the end: everything of ours is freed by now.
        os._exit(0 if well else LOAD_FAILED_STATUS)


def _registry(settings: Settings) -> Registry:
    """The models by name. A mistake made in models.toml since the server was started costs the
    user's entries, not the server."""
    try:
        return load_registry(settings)
    except LocalserveError as error:
        log.error("models.toml is passed over: %s", error)
        return shipped_registry()


def _routes(settings: Settings) -> RouteTable:
    """The routes by name; as with models, a mistake costs the routes, not the server."""
    try:
        return load_routes(settings)
    except LocalserveError as error:
        log.error("the routes of models.toml are passed over: %s", error)
        return RouteTable()


def _take_signals(worker: Worker) -> None:
    """From now on the signals that were held back since the start are handled."""
    for number in STOP_SIGNALS:
        signal.signal(number, lambda number, frame: worker.stop())
    if sys.platform != "win32":
        for number in RELOAD_SIGNALS:  # the supervisor's business, even if sent to a whole group
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS | RELOAD_SIGNALS)


def _take_over(handed_over: int | bytes) -> socket.socket:
    if isinstance(handed_over, int):
        os.set_inheritable(handed_over, False)  # a child would hold it open when we close it
        return socket.socket(fileno=handed_over)
    return socket.fromshare(handed_over)  # type: ignore[attr-defined,no-any-return,unused-ignore]


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.Loop


if __name__ == "__main__":
    main()
