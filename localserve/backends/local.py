"""A model in this process: renders and tokenizes in workers, lets the engine compute.

Knows chat and text; the engine below it knows tokens only. Lives on the event loop. llama.cpp is
imported at the first load, on the engine thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from localserve.backends.answer import Answer
from localserve.backends.base import Capability, EngineStatus, ModelFacts
from localserve.backends.conversation import Conversation
from localserve.backends.demands import Demands
from localserve.backends.lessons import Teacher, compare_load
from localserve.backends.loading import (
    LoadOptions,
    Prepared,
    ShareReport,
    closed_on_failure,
    nothing_kept,
    path_on_disk,
    prepare,
)
from localserve.backends.placement import Placed, forecast
from localserve.backends.prompts import Prompts
from localserve.backends.shelf import open_shelf, save_seconds
from localserve.catalog.filenames import as_text
from localserve.catalog.spec import LocalFile, ModelSpec
from localserve.chat import (
    DEFAULT_SAMPLING,
    ChatEvent,
    ChatRequest,
    Completed,
    CompletionRequest,
    EmbeddingAnswer,
    EmbeddingRequest,
    Generation,
    InfillRequest,
    Priority,
    Prompt,
    Report,
    RerankAnswer,
    RerankRequest,
    Sampling,
    TokenCount,
)
from localserve.config import DEFAULT_PARALLEL, Settings
from localserve.engine.budget import ReasoningBudget
from localserve.engine.constraint import MakeConstraint
from localserve.engine.disk.shelf import Shelf
from localserve.engine.engine import Engine, Snapshot
from localserve.engine.runner import TokenChunk
from localserve.engine.sequence import GenerateRequest, SequenceView
from localserve.errors import (
    LocalserveError,
    ModelUnusable,
    Unavailable,
    WrongTask,
)
from localserve.planner.companions import runtime_of_draft
from localserve.planner.forecast import Forecast
from localserve.planner.plan import wanted_by
from localserve.planner.processor import usable_cores
from localserve.planner.runtime import Runtime
from localserve.planner.usage import MemoryUsage
from localserve.prompting.abilities import abilities
from localserve.prompting.output.parser import AnswerParser
from localserve.prompting.sandbox import TemplateProcess
from localserve.prompting.template import CHATML
from localserve.telemetry.request_id import current_request_id

if TYPE_CHECKING:
    from localserve.llama.runner import LlamaRunner

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
"""A step may take so long before the running answers can be looked at."""


async def load(
    spec: ModelSpec,
    options: LoadOptions,
    progress: Callable[[float], None],
    templates: TemplateProcess,
    *,
    placed: Placed | None = None,
    on_abort: Callable[[str], None] = lambda reason: None,
) -> LocalBackend:
    """Load a model that is on this disk, as `placed` says (None: as it is planned now).

    `progress` is called on the event loop with the loaded share. `templates` renders for all
    models and belongs to the caller. `on_abort` is called with the
    reason, on the thread that failed, when llama.cpp is about to abort the process.

    Raises: ModelUnusable; OutOfMemory, after which nothing is left of it.
    """
    path = path_on_disk(spec)
    report = ShareReport(progress)
    parallel = (
        placed.parallel
        if placed is not None
        else options.wanted.over(wanted_by(spec)).parallel or DEFAULT_PARALLEL
    )
    prepared: Prepared

    def make_runner() -> LlamaRunner:
        nonlocal prepared
        with nothing_kept():
            prepared = prepare(spec, path, options, placed, on_abort)
            return _make_runner(spec, prepared, options, parallel, report)

    engine = Engine(
        spec.name,
        make_runner,
        max_running=parallel,
        max_waiting=options.max_waiting,
        step_budget_seconds=options.step_budget_seconds,
        make_shelf=lambda runner: _make_shelf(spec, path, options.settings, runner),
    )
    async with closed_on_failure(engine, spec, report):
        runner, _ = await asyncio.gather(engine.start(), templates.start())
        teacher = _teacher(options.settings, prepared) if options.settings is not None else None
        return LocalBackend(spec, options, engine, templates, runner, parallel, teacher)


def _make_runner(
    spec: ModelSpec,
    prepared: Prepared,
    options: LoadOptions,
    parallel: int,
    report: Callable[[float], bool],
) -> LlamaRunner:
    """The weights and their context, ready to compute; closed where that fails."""
    from localserve.llama.model import LlamaModel
    from localserve.llama.runner import LlamaRunner

    placed = prepared.placed
    with contextlib.ExitStack() as undo:
        model = LlamaModel(prepared.path, placed.runtime, report)
        undo.callback(model.close)
        if not model.generates:
            raise ModelUnusable(
                f"{spec.name!r} ({model.architecture}) is not a model that writes text.",
                hint="Choose a chat or completion model.",
            )
        draft_model: LlamaModel | None = None
        if placed.draft is not None:
            draft_model = LlamaModel(placed.draft, runtime_of_draft(placed.runtime))
        runner = LlamaRunner(
            model,
            placed.runtime,
            threads=options.threads or usable_cores(),
            checkpoint_bytes=placed.predicted.checkpoint_bytes,
            copies=_keeps_on_disk(options.settings, placed.runtime, parallel),
            draft_model=draft_model,
        )
        undo.callback(runner.close)
        runner.warm_up()
        if placed.draft is not None:
            log.info("%s: %s guesses for it", spec.name, placed.draft.name)
        if options.settings is not None:
            _compare(options.settings, prepared, runner)
        undo.pop_all()
    return runner


def _make_shelf(
    spec: ModelSpec, path: Path, settings: Settings | None, runner: LlamaRunner
) -> Shelf | None:
    """Where prefixes are kept on disk; None where they are not."""
    from localserve.llama import library

    if settings is None or not runner.copies:
        return None
    return open_shelf(
        settings,
        spec.name,
        path,
        runner.runtime,
        library.version(),
        cuttable=not runner.saves,
    )


def _keeps_on_disk(settings: Settings | None, runtime: Runtime, parallel: int) -> bool:
    """Whether kept prefixes go to disk; copying them takes a sequence id that no answer needs."""
    wanted = settings is not None and settings.prefix_disk_bytes > 0
    return wanted and runtime.sequences > parallel


def _compare(settings: Settings, prepared: Prepared, runner: LlamaRunner) -> None:
    """What the load took beside what was predicted, where llama.cpp tells."""
    from localserve.llama.memory import MemoryUntold

    placed = prepared.placed
    with contextlib.suppress(MemoryUntold):
        compare_load(settings, prepared.facts, placed.backend, placed.predicted, runner.memory())


def _teacher(settings: Settings, prepared: Prepared) -> Teacher:
    def predict() -> Forecast | None:
        return forecast(settings, prepared.facts, prepared.placed.runtime)

    return Teacher(settings, prepared.placed.backend, predict)


class LocalBackend:
    """Implements `Backend` over an engine with a llama.cpp runner."""

    def __init__(
        self,
        spec: ModelSpec,
        options: LoadOptions,
        engine: Engine[LlamaRunner],
        templates: TemplateProcess,
        runner: LlamaRunner,
        parallel: int,
        teacher: Teacher | None = None,
    ) -> None:
        self._options = options
        self._teacher = teacher
        self._engine = engine
        self._templates = templates
        self._vocabulary = runner.vocabulary
        self._conversation = Conversation(
            templates,
            runner.vocabulary,
            bos=runner.vocabulary.text(runner.vocabulary.begin),
            eos=runner.vocabulary.text(runner.vocabulary.end),
        )
        self._demands = Demands(runner.vocabulary)
        self._prompts = Prompts(
            runner.vocabulary, spec.name, cells=runner.cells, saves=runner.saves
        )
        self._chat_template = runner.model.chat_template
        self._spec = spec
        self._facts = _facts(spec, runner, parallel)
        self._memory = runner.memory_at_start
        if self._memory is not None:
            self._memory = replace(self._memory, checkpoint_bytes=runner.checkpoint_bytes)

    @property
    def facts(self) -> ModelFacts:
        return self._facts

    @property
    def memory(self) -> MemoryUsage | None:
        return self._memory

    async def chat(self, request: ChatRequest) -> AsyncGenerator[ChatEvent, None]:
        template = self._template
        text = await self._conversation.prompt(request, template)
        tokens, places = await asyncio.to_thread(self._prompts.of_chat, text, request.messages)
        style = await self._conversation.style(template)
        make_parser = self._conversation.parser(request, style, text)
        reasoning = make_parser().in_reasoning
        constraint = await self._demands.of_chat(
            request, style, template, text, reasoning=reasoning
        )
        answer = self._answer(
            [tokens],
            request.generation,
            request.scope,
            _priority(request, Priority.CHAT),
            checkpoints=places,
            parser=make_parser,
            spelled=style.special,
            budget=self._conversation.budget(request, style, reasoning),
            constraint=constraint,
            parallel_calls=request.calls.parallel,
        )
        async with contextlib.aclosing(self._watched(answer)) as events:
            async for event in events:
                yield event

    async def complete(self, request: CompletionRequest) -> AsyncGenerator[ChatEvent, None]:
        if request.suffix is None:
            texts = request.prompts
            prompts = [await asyncio.to_thread(self._prompts.of_prompt, text) for text in texts]
        else:
            prompts = [
                await asyncio.to_thread(self._prompts.of_suffixed, prompt, request.suffix)
                for prompt in request.prompts
            ]
        answer = self._answer(
            prompts,
            request.generation,
            request.scope,
            _priority(request, Priority.INTERACTIVE),
            from_text=all(isinstance(prompt, str) for prompt in request.prompts),
            constraint=await self._shape_constraint(request.generation),
        )
        if request.echo:
            answer.echoes = [self._echo(prompt) for prompt in request.prompts]
        async with contextlib.aclosing(self._watched(answer)) as events:
            async for event in events:
                yield event

    async def _shape_constraint(self, generation: Generation) -> MakeConstraint | None:
        if generation.shape is None:
            return None
        style = await self._conversation.style(self._template)
        return await self._demands.of_completion(generation.shape, style)

    async def infill(self, request: InfillRequest) -> AsyncGenerator[ChatEvent, None]:
        middle = await asyncio.to_thread(self._prompts.of_middle, request)
        answer = self._answer(
            [list(middle.tokens)],
            request.generation,
            request.scope,
            _priority(request, Priority.INTERACTIVE),
            constraint=await self._shape_constraint(request.generation),
        )
        answer.left_out_tokens = middle.left_out
        async with contextlib.aclosing(self._watched(answer)) as events:
            async for event in events:
                yield event

    async def tokenize(self, text: Prompt, *, add_special: bool, parse_special: bool) -> list[int]:
        def tokens() -> list[int]:
            return self._prompts.of_parts(
                text, "content", add_special=add_special, parse_special=parse_special
            )

        return await asyncio.to_thread(tokens)

    async def spell(self, tokens: Sequence[int]) -> list[bytes]:
        return await asyncio.to_thread(self._prompts.spellings, tokens, "tokens")

    async def render(self, request: ChatRequest, *, generation_prompt: bool = True) -> str:
        return await self._conversation.prompt(
            request, self._template, generation_prompt=generation_prompt
        )

    async def count_tokens(self, request: ChatRequest) -> TokenCount:
        text = await self._conversation.prompt(request, self._template)
        count = await asyncio.to_thread(self._prompts.count, text)
        return TokenCount(self._facts.name, count)

    async def look(self) -> tuple[SequenceView, ...]:
        try:
            return await self._engine.look(LOOK_SECONDS)
        except TimeoutError:
            raise Unavailable("The engine is in a long step; look again in a moment.") from None

    async def embed(self, request: EmbeddingRequest) -> EmbeddingAnswer:
        raise WrongTask(
            f"{self._facts.name!r} writes text and makes no embeddings.",
            hint="Name an embedding model (GET /v1/models says what each can do), or give this"
            ' one\'s file a second entry in models.toml, with pooling = "last".',
        )

    async def rerank(self, request: RerankRequest) -> RerankAnswer:
        raise WrongTask(
            f"{self._facts.name!r} writes text and ranks no documents.",
            hint="Name a reranker; GET /v1/models says what each model can do.",
        )

    async def _watched(self, answer: Answer) -> AsyncGenerator[ChatEvent, None]:
        """The answer's events, from which the teacher learns how fast they came."""
        completed = None
        if self._teacher is not None:
            self._teacher.begin(answer.sequences)
        try:
            async with contextlib.aclosing(answer.events()) as events:
                async for event in events:
                    if isinstance(event, Completed):
                        completed = event
                    yield event
        finally:
            if self._teacher is not None:
                self._teacher.end(completed)

    async def responsive(self, timeout_seconds: float) -> bool:
        return await self._engine.responsive(timeout_seconds)

    def status(self) -> EngineStatus:
        now = self._engine.snapshot
        return EngineStatus(
            alive=now.alive,
            running=now.running,
            waiting=now.waiting,
            cells_used=now.cells_used,
            cells=now.cells,
            step_age_seconds=self._engine.step_age_seconds,
            tokens_per_second=_rate(now),
            step_budget_ms=now.step_budget_seconds * 1e3,
            cells_kept=now.cells_kept,
            steps=now.steps,
            disk_bytes=now.disk_bytes,
            guessed_tokens=now.guessed_tokens,
            right_tokens=now.right_tokens,
        )

    def reconfigure(self, spec: ModelSpec) -> None:
        old = self._spec
        self._spec = spec
        self._facts = replace(
            self._facts,
            name=spec.name,
            aliases=spec.aliases,
            capabilities=capabilities_of(self._template, self._facts.fills_middle),
            chat_template=self._template,
            sampling=spec.sampling.over(DEFAULT_SAMPLING),
        )
        if wanted_by(old) != wanted_by(spec) or old.draft != spec.draft:
            what = "a new context, parallel, cache type, placement or draft"
            log.warning("%s: %s takes effect at the next start", spec.name, what)

    def break_all(self, error: LocalserveError) -> None:
        """End all answers with `error`, without asking the engine thread."""
        self._engine.break_all(error)

    async def close(self) -> None:
        await self._engine.close(save_seconds(self._options.settings))
        self._demands.close()
        if self._teacher is not None:
            await self._teacher.close()

    @property
    def _template(self) -> str:
        return self._spec.chat_template or self._chat_template or CHATML

    def _answer(
        self,
        prompts: list[list[int]],
        generation: Generation,
        scope: str,
        priority: Priority,
        *,
        from_text: bool = True,
        checkpoints: tuple[int, ...] = (),
        parser: Callable[[], AnswerParser] | None = None,
        spelled: Mapping[int, bytes] | None = None,
        budget: ReasoningBudget | None = None,
        constraint: MakeConstraint | None = None,
        parallel_calls: bool = True,
    ) -> Answer:
        sampling = generation.sampling.over(self._spec.sampling.over(DEFAULT_SAMPLING))
        for token, _ in sampling.logit_bias or ():
            self._prompts.check_token(token, "logit_bias")
        if generation.text_bias:
            sampling = self._with_text_bias(sampling, generation.text_bias)
        caps = (generation.max_tokens, self._spec.max_tokens, self._options.default_max_tokens)
        max_tokens = next((cap for cap in caps if cap is not None), None)
        request_id = current_request_id()
        requests = [
            GenerateRequest(
                prompt=(TokenChunk(tuple(tokens)),),
                sampling=sampling
                if sampling.seed is None
                else replace(sampling, seed=sampling.seed + choice),
                max_tokens=max_tokens,
                stop=generation.stop,
                top_logprobs=generation.top_logprobs,
                ignore_end=generation.ignore_eos,
                spelled=spelled or {},
                budget=budget,
                constraint=constraint,
                scope="" if self._options.share_prefixes else scope,
                priority=priority,
                from_text=from_text,
                checkpoints=checkpoints,
                line_seconds=generation.line_seconds,
                min_indent=generation.min_indent,
                reuse=generation.reuse,
                report=_engine_report(generation.report),
                request_id=request_id,
            )
            for tokens in prompts
            for choice in range(generation.choices)
        ]
        return Answer(
            engine=self._engine,
            model=self._facts.name,
            requests=requests,
            context_tokens=self._facts.context_tokens,
            generation=replace(generation, sampling=sampling, max_tokens=max_tokens),
            prompts=tuple(map(self._prompts.spell, prompts)) if generation.report.prompts else (),
            choices_per_prompt=generation.choices,
            spelling=self._vocabulary.spelling,
            parser=parser,
            parallel_calls=parallel_calls,
        )

    def _with_text_bias(
        self, sampling: Sampling, biases: tuple[tuple[str, float], ...]
    ) -> Sampling:
        more = [
            (token, bias)
            for text, bias in biases
            for token in self._prompts.of_parts(
                text, "logit_bias", add_special=False, parse_special=False
            )
        ]
        return replace(sampling, logit_bias=(*(sampling.logit_bias or ()), *more))

    def _echo(self, prompt: Prompt) -> str:
        if isinstance(prompt, str):
            return prompt
        return self._prompts.spell(self._prompts.of_prompt(prompt))


def _engine_report(report: Report) -> Report:
    """What the engine has to tell so that `report` can be: tokens are counted by their ids."""
    if not report.timings:
        return report
    return replace(report, tokens=True, progress=True)


def _priority(
    request: ChatRequest | CompletionRequest | InfillRequest, of_its_kind: Priority
) -> Priority:
    return of_its_kind if request.priority is None else request.priority


def _rate(now: Snapshot) -> float:
    """Tokens per second of the last step."""
    step = now.last_step
    if not now.running or step is None:
        return 0.0
    return step.answering / max(1e-6, (step.run_ms + step.thread_ms) / 1e3)


def capabilities_of(template: str | None, fills_middle: bool) -> tuple[Capability, ...]:
    """What a model that writes text can do."""
    insert: tuple[Capability, ...] = ("insert",) if fills_middle else ()
    return ("completion", *abilities(template), *insert)


def _facts(spec: ModelSpec, runner: LlamaRunner, parallel: int) -> ModelFacts:
    assert isinstance(spec.source, LocalFile)
    model = runner.model
    vocabulary = model.vocabulary
    fills_middle = vocabulary.fill_markers is not None
    return ModelFacts(
        name=spec.name,
        aliases=spec.aliases,
        architecture=model.architecture,
        context_tokens=runner.cells,
        trained_context_tokens=model.trained_context_tokens,
        parallel=parallel,
        vocabulary_size=model.vocabulary.size,
        embedding_length=model.embedding_length,
        parameters=model.parameters,
        weights_bytes=model.weights_bytes,
        created=int(spec.source.path.stat().st_mtime),
        fills_middle=fills_middle,
        device=runner.device,
        file=as_text(str(spec.source.path)),
        capabilities=capabilities_of(spec.chat_template or model.chat_template, fills_middle),
        chat_template=spec.chat_template or model.chat_template or CHATML,
        begin_text=vocabulary.text(vocabulary.begin),
        end_text=vocabulary.text(vocabulary.end),
        sampling=spec.sampling.over(DEFAULT_SAMPLING),
    )
