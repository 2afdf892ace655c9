"""The figures of a load test for people and for programs. No command of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table

from localserve.cli.terminal import plain
from localserve.loadtest.client import Load
from localserve.loadtest.figures import SATURATED_SHARE, Distribution, StepFigures, saturation
from localserve.loadtest.slo import METRICS, Objective

_TITLES = ("users", "requests", "errors", "ttft ms", "itl ms", "total ms", "tokens/s")


def step_table(steps: Sequence[StepFigures]) -> Table:
    """One line for each step, in 80 columns as long as answers take seconds."""
    table = Table(box=None, pad_edge=False, caption="times: p50/p95/p99", caption_justify="left")
    for title in _TITLES:
        table.add_column(title, overflow="fold", justify="right")
    for step in steps:
        cells = (
            str(step.users),
            str(step.requests),
            _errors(step),
            *map(_times, (step.ttft, step.itl, step.total)),
            f"{step.tokens_per_second:.1f}",
        )
        table.add_row(*map(plain, cells), style="red" if step.errors else None)
    return table


def notes(steps: Sequence[StepFigures], objectives: Sequence[Objective]) -> Iterator[str]:
    """What the figures mean: why requests failed, where the server saturates, what held."""
    reasons: Counter[str] = Counter()
    for step in steps:
        reasons.update(step.errors)
    if reasons:
        yield "errors: " + ", ".join(f"{count} × {name}" for name, count in reasons.most_common())
    yield _saturation_note(steps)
    for objective in objectives:
        yield f"{objective}: {_verdict(objective, steps)}"
    if len(objectives) > 1 and len(steps) > 1 and (most := _held_up_to(steps, objectives)):
        yield f"all objectives hold with up to {users_text(most)}"


def _held_up_to(steps: Sequence[StepFigures], objectives: Sequence[Objective]) -> int | None:
    """The most users with whom, and with fewer, every objective held; None, where with none."""
    most = None
    for step in steps:
        if not all(objective.holds(step) for objective in objectives):
            break
        most = step.users
    return most


def users_text(users: int) -> str:
    """Such as '1 user' or '8 users'."""
    return f"{users} user" if users == 1 else f"{users} users"


def bench_document(
    load: Load, seconds: float, steps: Sequence[StepFigures], objectives: Sequence[Objective]
) -> dict[str, Any]:
    """All of it as JSON. Times in seconds."""
    saturated = saturation(steps)
    return {
        "url": load.url,
        "model": load.model,
        "prompt_words": load.prompt_words,
        "max_tokens": load.max_tokens,
        "step_seconds": seconds,
        "steps": [_step_document(step) for step in steps],
        "saturation_users": saturated.users if saturated else None,
        "slo": _slo_document(steps, objectives) if objectives else None,
    }


def _step_document(step: StepFigures) -> dict[str, Any]:
    def times(found: Distribution | None) -> dict[str, float] | None:
        return None if found is None else asdict(found)

    return {
        "users": step.users,
        "requests": step.requests,
        "error_rate": step.error_rate,
        "errors": dict(step.errors),
        "ttft_seconds": times(step.ttft),
        "itl_seconds": times(step.itl),
        "total_seconds": times(step.total),
        "tokens_per_second": step.tokens_per_second,
    }


def _slo_document(steps: Sequence[StepFigures], objectives: Sequence[Objective]) -> dict[str, Any]:
    return {
        "held": all(objective.holds(step) for objective in objectives for step in steps),
        "held_up_to_users": _held_up_to(steps, objectives),
        "objectives": [
            {
                "name": objective.name,
                "bound": objective.bound,
                "held": all(map(objective.holds, steps)),
                "measured": [objective.measure(step) for step in steps],
            }
            for objective in objectives
        ],
    }


def _errors(step: StepFigures) -> str:
    return f"{step.error_rate:.1%}" if step.errors else "0"


def _times(found: Distribution | None) -> str:
    if found is None:
        return "-"
    return "/".join(_milliseconds(one) for one in (found.p50, found.p95, found.p99))


def _milliseconds(seconds: float) -> str:
    ms = seconds * 1e3
    return f"{ms:.0f}" if ms >= 100 else f"{ms:.1f}"


def _saturation_note(steps: Sequence[StepFigures]) -> str:
    found = saturation(steps)
    if found is None:
        return (
            f"not saturated with {steps[-1].users} users"
            if len(steps) > 1
            else ("one step says nothing of where the server saturates")
        )
    return (
        f"saturated with {users_text(found.users)} at {found.tokens_per_second:.1f} tokens/s: more"
        f" gain less than {1 / SATURATED_SHARE - 1:.0%}"
    )


def _verdict(objective: Objective, steps: Sequence[StepFigures]) -> str:
    broken = [step for step in steps if not objective.holds(step)]
    if not broken:
        figures = [one for step in steps if (one := objective.measure(step)) is not None]
        worst = min(figures) if METRICS[objective.name].at_least else max(figures)
        return f"held, at worst {worst:.3g}"
    first = broken[0]
    found = objective.measure(first)
    figure = "nothing was answered" if found is None else f"{found:.3g}"
    return f"broken with {users_text(first.users)}: {figure}"
