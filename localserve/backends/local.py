"""A model in this process: renders and tokenizes in workers, lets the engine compute.

Knows chat and text; the engine below it knows tokens only. Lives on the event loop. llama.cpp is
imported at the first load, on the engine thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from localserve.backends.answer import Answer
from localserve.backends.base import EngineStatus, ModelFacts
from localserve.backends.conversation import Conversation
from localserve.backends.demands import Demands
from localserve.backends.lessons import Teacher, compare_load
from localserve.backends.placement import Placed, checkpoint_room, forecast, place_model
from localserve.catalog.headers import read_local
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
    Message,
    Prompt,
    RerankAnswer,
    RerankRequest,
)
from localserve.config import DEFAULT_CHECKPOINT_BYTES, DEFAULT_PARALLEL, Settings
from localserve.engine.budget import ReasoningBudget
from localserve.engine.constraint import MakeConstraint
from localserve.engine.engine import Engine, Snapshot
from localserve.engine.runner import TokenChunk
from localserve.engine.sequence import GenerateRequest
from localserve.errors import (
    ContextOverflow,
    InvalidRequest,
    LocalserveError,
    ModelUnusable,
    WrongTask,
)
from localserve.gguf.facts import GgufFacts
from localserve.gguf.loadable import check_loadable
from localserve.planner.devices import GPU_KINDS
from localserve.planner.forecast import Forecast
from localserve.planner.plan import Wanted, wanted_by
from localserve.planner.processor import usable_cores
from localserve.planner.usage import MemoryUsage
from localserve.prompting.output.parser import AnswerParser
from localserve.prompting.places import checkpoints
from localserve.prompting.sandbox import TemplateProcess
from localserve.prompting.template import CHATML

if TYPE_CHECKING:
    from localserve.llama.runner import LlamaRunner

log = logging.getLogger(__name__)

LONG_TEXT_BYTES = 1 << 20
"""Shorter ones are quickly tokenized."""


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """What the user decided; None means 'as models.toml says, or the default'."""

    wanted: Wanted = field(default_factory=Wanted)
    threads: int | None = None
    max_waiting: int = 64
    step_budget_seconds: float = 0.5
    default_max_tokens: int | None = None
    checkpoint_bytes: int = DEFAULT_CHECKPOINT_BYTES
    share_prefixes: bool = False
    settings: Settings | None = None
    """Where measurements and lessons are kept; without them nothing is planned and learned."""


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
    if not isinstance(spec.source, LocalFile):
        raise ModelUnusable(f"The model {spec.name!r} is not on this disk.")
    loop = asyncio.get_running_loop()
    path = spec.source.path
    wishes = options.wanted.over(wanted_by(spec))
    parallel = placed.parallel if placed else wishes.parallel or DEFAULT_PARALLEL
    wanted = True

    def report(share: float) -> bool:
        if wanted:
            loop.call_soon_threadsafe(progress, share)
        return wanted

    facts: GgufFacts
    how = placed

    def make_runner() -> LlamaRunner:
        nonlocal facts, how
        from localserve.llama import library
        from localserve.llama.devices import devices
        from localserve.llama.model import LlamaModel
        from localserve.llama.runner import LlamaRunner

        def has_gpu() -> bool:
            return any(device.kind in GPU_KINDS for device in devices())

        library.watch_abort(on_abort)
        facts = read_local(path).facts
        check_loadable(facts)
        how = how or place_model(path, facts, spec.name, wishes, options.settings, has_gpu)
        model = LlamaModel(path, how.runtime, report)
        try:
            if not model.generates:
                raise ModelUnusable(
                    f"{spec.name!r} ({model.architecture}) is not a model that writes text.",
                    hint="Choose a chat or completion model.",
                )
            runner = LlamaRunner(
                model,
                how.runtime,
                threads=options.threads or usable_cores(),
                checkpoint_bytes=checkpoint_room(facts, how.runtime, options.checkpoint_bytes),
            )
        except BaseException:
            model.close()
            raise
        runner.warm_up()
        if options.settings is not None:
            _compare(options.settings, facts, how, runner)
        return runner

    engine = Engine(
        spec.name,
        make_runner,
        max_running=parallel,
        max_waiting=options.max_waiting,
        step_budget_seconds=options.step_budget_seconds,
    )
    try:
        runner, _ = await asyncio.gather(engine.start(), templates.start())
        assert how is not None
        teacher = _teacher(options.settings, facts, how) if options.settings else None
        return LocalBackend(spec, options, engine, templates, runner, parallel, teacher)
    except BaseException as failure:
        wanted = False
        await asyncio.shield(engine.close())
        if isinstance(failure, LocalserveError) or not isinstance(failure, Exception):
            raise
        log.exception("loading %s failed", spec.name)
        why = f"{type(failure).__name__}: {failure}"
        raise ModelUnusable(f"{spec.name!r} could not be loaded: {why}.") from failure


def _compare(settings: Settings, facts: GgufFacts, placed: Placed, runner: LlamaRunner) -> None:
    """What the load took beside what was predicted, where llama.cpp tells."""
    from localserve.llama.memory import MemoryUntold

    with contextlib.suppress(MemoryUntold):
        compare_load(settings, facts, placed.backend, placed.predicted, runner.memory())


def _teacher(settings: Settings, facts: GgufFacts, placed: Placed) -> Teacher:
    def predict() -> Forecast | None:
        return forecast(settings, facts, placed.runtime)

    return Teacher(settings, placed.backend, predict)


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
        self._cells = runner.cells
        self._saves = runner.saves
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
        tokens, places = await asyncio.to_thread(self._chat_tokens, text, request.messages)
        self._check_length(tokens, "messages")
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
            request.priority,
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
            prompts = [await asyncio.to_thread(self._prompt_tokens, text) for text in texts]
        else:
            prompts = [
                await asyncio.to_thread(self._middle_tokens, prompt, request.suffix)
                for prompt in request.prompts
            ]
        for tokens in prompts:
            self._check_length(tokens, "prompt")
        answer = self._answer(
            prompts,
            request.generation,
            request.scope,
            request.priority,
            from_text=all(isinstance(prompt, str) for prompt in request.prompts),
            constraint=await self._completion_constraint(request),
        )
        if request.echo:
            answer.echoes = [self._spell(prompt) for prompt in request.prompts]
        async with contextlib.aclosing(self._watched(answer)) as events:
            async for event in events:
                yield event

    @property
    def _template(self) -> str:
        return self._spec.chat_template or self._chat_template or CHATML

    async def _completion_constraint(self, request: CompletionRequest) -> MakeConstraint | None:
        shape = request.generation.shape
        if shape is None:
            return None
        style = await self._conversation.style(self._template)
        return await self._demands.of_completion(shape, style)

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
        )

    def reconfigure(self, spec: ModelSpec) -> None:
        old = self._spec
        self._spec = spec
        self._facts = replace(self._facts, name=spec.name, aliases=spec.aliases)
        if wanted_by(old) != wanted_by(spec):
            what = "a new context, parallel, cache type or placement"
            log.warning("%s: %s takes effect at the next start", spec.name, what)

    def break_all(self, error: LocalserveError) -> None:
        """End all answers with `error`, without asking the engine thread."""
        self._engine.break_all(error)

    async def close(self) -> None:
        await self._engine.close()
        self._demands.close()
        if self._teacher is not None:
            await self._teacher.close()

    def _answer(
        self,
        prompts: list[list[int]],
        generation: Generation,
        scope: str,
        priority: int,
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
            self._check_token(token, "logit_bias")
        caps = (generation.max_tokens, self._spec.max_tokens, self._options.default_max_tokens)
        max_tokens = next((cap for cap in caps if cap is not None), None)
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
            )
            for tokens in prompts
            for choice in range(generation.choices)
        ]
        return Answer(
            engine=self._engine,
            model=self._facts.name,
            requests=requests,
            prompt_tokens=sum(map(len, prompts)),
            choices_per_prompt=generation.choices,
            spelling=self._vocabulary.spelling,
            parser=parser,
            parallel_calls=parallel_calls,
        )

    def _check_length(self, tokens: Sequence[int], param: str) -> None:
        if len(tokens) > self._cells:
            raise ContextOverflow(len(tokens), self._cells, param=param)

    def _check_size(self, text: str, param: str) -> None:
        """Refuse at once what no tokenization could make fit: a long one takes many seconds."""
        size = len(text.encode("utf-8", "surrogatepass"))
        if size < LONG_TEXT_BYTES:
            return
        least = self._vocabulary.least_tokens(size)
        if least > self._cells:
            raise ContextOverflow(least, self._cells, param=param, counted=False)

    def _check_token(self, token: int, param: str) -> None:
        if not 0 <= token < self._vocabulary.size:
            raise InvalidRequest(
                f"There is no token {token}: this model's vocabulary has {self._vocabulary.size}.",
                param=param,
            )

    def _tokenize(self, text: str, param: str) -> list[int]:
        """Tokens of a whole prompt; never with two BOS."""
        self._check_size(text, param)
        begin = self._vocabulary.text(self._vocabulary.begin)
        doubled = bool(begin) and self._vocabulary.adds_begin and text.startswith(begin)
        tokens = self._vocabulary.tokenize(text, add_special=not doubled, parse_special=True)
        if tokens:
            return tokens
        for token in (self._vocabulary.begin, self._vocabulary.end):
            if token is not None:
                return [token]
        raise InvalidRequest("The prompt is empty.", param="prompt")

    def _chat_tokens(
        self, text: str, messages: Sequence[Message]
    ) -> tuple[list[int], tuple[int, ...]]:
        """Tokens of a rendered conversation, and where checkpoints of it are worth having."""
        tokens = self._tokenize(text, "messages")
        if not self._saves:
            return tokens, ()
        return tokens, checkpoints(messages, text, tokens, self._vocabulary.spelling)

    def _prompt_tokens(self, prompt: Prompt) -> list[int]:
        if isinstance(prompt, str):
            return self._tokenize(prompt, "prompt")
        for token in prompt:
            self._check_token(token, "prompt")
        return list(prompt) or self._tokenize("", "prompt")

    def _middle_tokens(self, prompt: Prompt, suffix: str) -> list[int]:
        """Prefix and suffix as the model was trained to see them before it writes the middle."""
        markers = self._vocabulary.fill_middle
        if markers is None:
            raise InvalidRequest(
                f"{self._facts.name!r} was not trained to fill in the middle.",
                param="suffix",
                hint="Leave 'suffix' out, or serve a coder model.",
            )
        if not isinstance(prompt, str):
            raise InvalidRequest("With a suffix, the prompt must be text.", param="prompt")
        self._check_size(prompt + suffix, "prompt")
        before, between, behind = markers
        plain = {"add_special": False, "parse_special": False}
        begin = [self._vocabulary.begin] if self._vocabulary.adds_begin else []
        return [
            *(token for token in begin if token is not None),
            before,
            *self._vocabulary.tokenize(prompt, **plain),
            between,
            *self._vocabulary.tokenize(suffix, **plain),
            behind,
        ]

    def _spell(self, prompt: Prompt) -> str:
        if isinstance(prompt, str):
            return prompt
        return b"".join(map(self._vocabulary.spelling, prompt)).decode("utf-8", "replace")


def _rate(now: Snapshot) -> float:
    """Tokens per second of the last step."""
    step = now.last_step
    if not now.running or step is None:
        return 0.0
    return step.answering / max(1e-6, (step.run_ms + step.thread_ms) / 1e3)


def _facts(spec: ModelSpec, runner: LlamaRunner, parallel: int) -> ModelFacts:
    assert isinstance(spec.source, LocalFile)
    model = runner.model
    fills_middle = model.vocabulary.fill_middle is not None
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
        has_chat_template=model.chat_template is not None,
        device=runner.device,
        file=str(spec.source.path),
        capabilities=("completion", "insert") if fills_middle else ("completion",),
    )
