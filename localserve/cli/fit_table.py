"""Plans for people: a table, bars of memory, and the reasons in words."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rich.table import Table
from rich.text import Text

from localserve.cli.terminal import (
    console,
    count_text,
    plain,
    print_table,
    size_text,
)
from localserve.planner.fit import Fit
from localserve.planner.forecast import TokenTime
from localserve.planner.machine import PROCESS_BYTES, Load, Machine, Place
from localserve.planner.plan import Plan
from localserve.planner.sizes import memory_text
from localserve.planner.speed import DECODE_AT_TOKENS, PROMPT_TOKENS, Corrections, Speed
from localserve.planner.usage import RAM

BAR_CELLS = 20
MOST_NAMES = 5


def print_fit(fit: Fit, machine: Machine) -> None:
    """The answer about one model."""
    shown = fit.shown
    facts = shown.facts
    trained = facts.hyperparameters.context_length
    about = f"{facts.architecture}, {count_text(facts.parameters)} parameters"
    _say(f"{fit.name}: {about}, trained for {trained} tokens", bold=True)
    _say(_planned_line(shown))
    console.print()
    names = [plan.quantization for plan in fit.plans]
    print_table(_plans_table(fit.plans, fit.picked, names, elsewhere=fit.elsewhere))
    for name, problem in list(fit.unusable.items())[:MOST_NAMES]:
        _say(f"{name}: {problem.message}", style="yellow")
    console.print()
    for place in machine.places:
        console.print(_place_line(shown, place))
    _print_bound(machine)
    if shown.runtime.tensor_split:
        shares = " : ".join(f"{share:g}" for share in shown.runtime.tensor_split)
        _say(f"layers on the GPUs: {shares}")
    if fit.projector is not None and fit.projector.facts is None:
        size = size_text(fit.projector.size_bytes)
        _say(f"not counted: {fit.projector.name} ({size}), for images or sound; --mmproj does")
    if (how := _how(shown)) is not None:
        _say(how)
    _say(_speed_line(shown.speed, shown.corrections, machine))
    if shown.speed is not None:
        _say(_token_line(shown.speed.token))
    console.print()
    _print_verdict(fit)
    if fit.elsewhere:
        _say("what is not here is planned from the catalog's sizes and the file that is")
    if (better := fit.better) is not None:
        _say(
            f"{better.quantization} would be the better choice:"
            f" localserve pull {fit.name}:{better.quantization}"
        )
    if fit.frontier:
        console.print()
        print_table(_frontier_table(fit))


def _print_bound(machine: Machine) -> None:
    """What bounds RAM's room, if the user does."""
    ram = machine.ram
    if ram.bound_bytes is not None and ram.is_bounded:
        models = memory_text(ram.bound_bytes - PROCESS_BYTES)
        _say(f"LOCALSERVE_MODEL_RAM_BYTES leaves models {models} of RAM")


def _planned_line(plan: Plan) -> str:
    runtime = plan.runtime
    if runtime.pooling is None:
        return (
            f"planned for {runtime.context_tokens} tokens of context, {plan.parallel} requests at"
            f" once, cache {runtime.cache_type_k}/{runtime.cache_type_v}"
        )
    made = "scores of pairs" if runtime.pooling == "rank" else "vectors of texts"
    return (
        f"planned for {made} of up to {runtime.context_tokens} tokens, {plan.parallel} at once,"
        f" pooled by {runtime.pooling}"
    )


def print_catalog(plans: Sequence[Plan], machine: Machine) -> None:
    """The ranked catalog."""
    names = [plan.facts.name or plan.facts.file for plan in plans]
    print_table(_plans_table(plans, None, names, "model", catalog=True))
    console.print()
    for place in machine.places:
        room = f"{memory_text(place.room_bytes)} of room, {memory_text(place.total_bytes)} in all"
        whose = ", part of RAM" if place.unified else ""
        _say(f"{place.title} ({place.description}): {room}{whose}")
    _print_bound(machine)
    _say("estimated from the catalog's sizes; `localserve fit NAME` reads the real headers")


def _plans_table(
    plans: Sequence[Plan],
    picked: Plan | None,
    names: Sequence[str],
    title: str = "quantization",
    *,
    catalog: bool = False,
    elsewhere: Collection[str] = (),
) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column(title, no_wrap=True)
    if catalog:
        table.add_column("quantization", no_wrap=True)
    if elsewhere:
        table.add_column("here", no_wrap=True)
    contexts = len({plan.runtime.context_tokens for plan in plans}) > 1
    if contexts:
        table.add_column("context", no_wrap=True, justify="right")
    for heading in ("size", "fits", "where", "memory", "needed", "headroom", "tokens/s"):
        justify = "left" if heading in ("fits", "where", "memory") else "right"
        table.add_column(heading, no_wrap=True, justify=justify)  # type: ignore[arg-type]
    for plan, name in zip(plans, names, strict=True):
        mark = ">" if plan is picked else ""
        style = "bold" if plan is picked else "" if plan.fits else "dim"
        cells: list[str | Text] = [mark, plain(name)]
        if catalog:
            cells.append(plain(plan.quantization))
        if elsewhere:
            cells.append("" if plan.quantization in elsewhere else "yes")
        if contexts:
            cells.append(str(plan.runtime.context_tokens))
        headroom = memory_text(abs(plan.headroom_bytes))
        table.add_row(
            *cells,
            size_text(plan.facts.size_bytes),
            "yes" if plan.fits else "no",
            plan.where,
            _bar(plan.tightest),
            memory_text(plan.tightest.needed_bytes),
            headroom if plan.headroom_bytes >= 0 else f"-{headroom}",
            _rate(plan.speed),
            style=style,
        )
    return table


def _bar(load: Load) -> Text:
    """How much of the tightest place's room is taken."""
    share = load.needed_bytes / load.room_bytes if load.room_bytes else 2.0
    full = min(BAR_CELLS, round(share * BAR_CELLS))
    style = "green" if share <= 0.85 else "yellow" if share <= 1 else "red"
    solid, hollow = ("█", "░") if "utf" in console.encoding.lower() else ("#", ".")
    return Text(solid * full + hollow * (BAR_CELLS - full), style=style)


def _place_line(plan: Plan, place: Place) -> Text:
    """One place with all that lies there."""
    load = next(load for load in plan.loads if load.place == place.name)
    device = plan.usage.of(place.name)
    parts = {
        "weights": device.weights_bytes,
        "cache": device.cache_bytes,
        "compute": device.compute_bytes,
    }
    for beside in plan.usage.beside:
        parts["projector" if beside.kind == "mmproj" else "draft"] = beside.on(place.name)
    parts["on the GPU"] = load.shared_bytes
    rest = load.needed_bytes - device.total_bytes - plan.usage.beside_on(place.name)
    rest -= load.shared_bytes
    if place.name == RAM and plan.usage.checkpoint_bytes:
        parts["checkpoints"] = plan.usage.checkpoint_bytes
        rest -= plan.usage.checkpoint_bytes
    parts["output and process"] = rest
    listed = ", ".join(f"{name} {memory_text(size)}" for name, size in parts.items() if size)
    line = plain(f"{place.title:6} ")
    line.append_text(_bar(load))
    needed, room = memory_text(load.needed_bytes), memory_text(load.room_bytes)
    line.append(f"  {needed} of {room}" + (f": {listed}" if listed else ""))
    if place.unified:
        line.append(" (part of RAM, of which it may use so much)")
        return line
    taken = place.total_bytes - place.free_bytes
    if taken > 0:
        line.append(f" ({memory_text(taken)} in use by others")
        line.append(f", {memory_text(place.margin_bytes)} kept free)")
    else:
        line.append(f" ({memory_text(place.margin_bytes)} kept free)")
    return line


def _how(plan: Plan) -> str | None:
    """Where parts of the model lie, if not all in one place."""
    if plan.where != "GPU + RAM":
        return None
    runtime, layers = plan.runtime, plan.facts.hyperparameters.layers
    on_gpu = layers + 1 if runtime.gpu_layers is None else runtime.gpu_layers
    text = f"{on_gpu} of {layers + 1} layers on the GPU"
    if runtime.cpu_expert_layers:
        text += f", the experts of the first {runtime.cpu_expert_layers} layers in RAM"
    return text


def _speed_line(speed: Speed | None, known: Corrections, machine: Machine) -> str:
    if speed is None:
        return "speed: not known, for the bandwidth of a device could not be measured"
    text = f"speed: about {_rate(speed)} tokens/s"
    if speed.first_token_seconds is not None:
        text += (
            f"; first token of a prompt of {PROMPT_TOKENS} after {speed.first_token_seconds:.1f} s"
        )
    if machine.imagined:
        return f"{text} (an estimate: nothing was measured there, a usual machine is assumed)"
    if known.answers:
        return f"{text} (measured rates, calibrated by {_answers(known.answers)})"
    if known.alike:
        answers = _answers(known.alike)
        return f"{text} (measured rates, in part calibrated by {answers} of models alike)"
    return f"{text} (measured rates; not calibrated by an answer yet)"


def _token_line(token: TokenTime) -> str:
    """Where the time of a token goes."""
    text = (
        f"each token: {_milliseconds(token.weights)} for its weights,"
        f" {_milliseconds(token.attention)} for attention to {DECODE_AT_TOKENS} before it"
    )
    return text + (f", {_milliseconds(token.starts)} to start operations" if token.starts else "")


def _milliseconds(seconds: float) -> str:
    value = seconds * 1e3
    return f"{value:.0f} ms" if value >= 10 else f"{value:.2g} ms"


def _answers(count: int) -> str:
    return "1 answer" if count == 1 else f"{count} answers"


def _print_verdict(fit: Fit) -> None:
    shown, why = fit.shown, fit.explanation
    if shown.fits:
        _say(
            f"It fits: {shown.quantization} in {shown.where}, {_spare(shown)} to spare.", bold=True
        )
        return
    if shown.problem is not None:
        _say(f"llama.cpp would not run {shown.quantization} so: {shown.problem}", style="red")
    else:
        short = memory_text(why.short_bytes)
        _say(f"{shown.quantization} does not fit: {why.place.title} is {short} short.", style="red")
    for program in why.place.programs[:MOST_NAMES]:
        size = memory_text(program.used_bytes) if program.used_bytes else "an unknown amount"
        _say(f"  {program.name} has {size} of {why.place.title}")
    if not why.changes:
        _say("No smaller context, cache or quantization makes it fit; choose a smaller model.")
    for change in why.changes:
        _say(f"  {change.text} would fit" + (f", {_gain(change.plan)}" if change.plan else ""))


def _gain(plan: Plan) -> str:
    text = f"{_spare(plan)} to spare in {plan.where}"
    return text + (f", {_rate(plan.speed)} tokens/s" if plan.speed is not None else "")


def _spare(plan: Plan) -> str:
    return memory_text(plan.headroom_bytes)


def _frontier_table(fit: Fit) -> Table:
    """Quantization x context: where it lies and how fast, best trades marked."""
    contexts = sorted({plan.runtime.context_tokens for plan in (*fit.plans, *fit.others)})
    table = Table(box=None, pad_edge=False, title_justify="left")
    table.title = "tokens/s by quantization and context (* no other is better in everything)"
    table.add_column("quantization", no_wrap=True)
    for context in contexts:
        table.add_column(str(context), no_wrap=True, justify="right")
    plans = {
        (plan.quantization, plan.runtime.context_tokens): plan for plan in (*fit.plans, *fit.others)
    }
    best = {(plan.quantization, plan.runtime.context_tokens) for plan in fit.frontier}
    for plan in fit.plans:
        keys = [(plan.quantization, context) for context in contexts]
        cells = [_cell(plans.get(key), key in best) for key in keys]
        table.add_row(plain(plan.quantization), *cells)
    return table


def _cell(plan: Plan | None, best: bool) -> str:
    if plan is None or not plan.fits:
        return "-"
    return f"{plan.where} {_rate(plan.speed)}{'*' if best else ' '}"


def _rate(speed: Speed | None) -> str:
    if speed is None:
        return "?"
    return f"{speed.decode:.0f}" if speed.decode >= 10 else f"{speed.decode:.1f}"


def _say(text: str, *, bold: bool = False, style: str = "") -> None:
    console.print(plain(text), style="bold" if bold else style)
