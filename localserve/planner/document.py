"""Plans as JSON: amounts in bytes, rates in tokens per second, null for what is not known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from localserve.planner.choice import bits_per_weight
from localserve.planner.explain import Change
from localserve.planner.fit import Fit
from localserve.planner.machine import Machine
from localserve.planner.plan import Plan


def fit_document(fit: Fit, machine: Machine) -> dict[str, Any]:
    """What `fit NAME --json` prints: the plan to look at, its reasons, and all others."""
    explanation = fit.explanation
    return {
        "model": fit.name,
        "picked": fit.picked.quantization if fit.picked is not None else None,
        **plan_document(fit.shown),
        "explanation": {
            "place": explanation.place.name,
            "short_bytes": explanation.short_bytes,
            "terms": {term.kind: term.size_bytes for term in explanation.terms},
            "programs": [
                {"name": program.name, "used_bytes": program.used_bytes}
                for program in explanation.place.programs
            ],
            "changes": [_change_document(change) for change in explanation.changes],
        },
        "quantizations": [
            {**plan_document(plan), "elsewhere": plan.quantization in fit.elsewhere}
            for plan in fit.plans
        ],
        "projector": fit.projector
        and {
            "file": fit.projector.name,
            "size_bytes": fit.projector.size_bytes,
            "counted": fit.projector.facts is not None,
        },
        "unusable": {name: problem.message for name, problem in fit.unusable.items()},
        "frontier": [_point(plan) for plan in fit.frontier],
        "grid": _grid(fit),
        "machine": machine_document(machine),
    }


def _grid(fit: Fit) -> list[dict[str, Any]]:
    """Every quantization at every context that was planned, `best` those of the frontier."""
    plans = {
        (plan.quantization, plan.runtime.context_tokens): plan for plan in (*fit.others, *fit.plans)
    }
    best = {(plan.quantization, plan.runtime.context_tokens) for plan in fit.frontier}
    return [
        {
            "quantization": quantization,
            "context_tokens": context,
            "fits": plan.fits,
            "where": plan.where,
            "headroom_bytes": plan.headroom_bytes,
            "decode_tokens_per_second": plan.speed.decode if plan.speed is not None else None,
            "best": (quantization, context) in best,
        }
        for (quantization, context), plan in sorted(plans.items(), key=lambda item: item[0][1])
    ]


def catalog_document(plans: Sequence[Plan], machine: Machine) -> dict[str, Any]:
    """What `fit --json` prints."""
    models = [{"model": plan.facts.name, **plan_document(plan)} for plan in plans]
    return {"models": models, "machine": machine_document(machine)}


def plan_document(plan: Plan) -> dict[str, Any]:
    """One plan: whether and how it fits, what it takes, and what `up` would run."""
    speed = plan.speed
    return {
        "quantization": plan.quantization,
        "fits": plan.fits,
        "where": plan.where,
        "headroom_bytes": plan.headroom_bytes,
        "problem": plan.problem,
        "size_bytes": plan.facts.size_bytes,
        "bits_per_weight": round(bits_per_weight(plan.facts), 2),
        "memory": memory_document(plan),
        "runtime": runtime_document(plan),
        "speed": speed
        and {
            "decode_tokens_per_second": speed.decode,
            "prompt_tokens_per_second": speed.prompt,
            "first_token_seconds": speed.first_token_seconds,
            "token_seconds": {
                "weights": speed.token.weights,
                "attention": speed.token.attention,
                "starts": speed.token.starts,
            },
            "calibrated_by_answers": plan.corrections.answers,
            "calibrated_by_alike": plan.corrections.alike,
        },
    }


def memory_document(plan: Plan) -> dict[str, Any]:
    """`needed_bytes` of a device is all that counts against its room: in RAM also the output, the
    process, checkpoints, companions (projector and draft, `beside_bytes`) and what lies on GPUs
    that have no memory but RAM (`shared_bytes`), which those list, too."""
    usage = plan.usage
    return {
        "weights_bytes": usage.weights_bytes,
        "kv_bytes": usage.cache_bytes,
        "compute_bytes": usage.compute_bytes,
        "total_bytes": usage.total_bytes,
        "output_bytes": usage.output_bytes,
        "checkpoint_bytes": usage.checkpoint_bytes,
        "mmproj_bytes": usage.beside_bytes("mmproj"),
        "draft_bytes": usage.beside_bytes("draft"),
        "devices": [
            {
                "name": load.place,
                "weights_bytes": usage.of(load.place).weights_bytes,
                "kv_bytes": usage.of(load.place).cache_bytes,
                "compute_bytes": usage.of(load.place).compute_bytes,
                "total_bytes": usage.of(load.place).total_bytes,
                "beside_bytes": usage.beside_on(load.place),
                "shared_bytes": load.shared_bytes,
                "needed_bytes": load.needed_bytes,
                "room_bytes": load.room_bytes,
                "headroom_bytes": load.headroom_bytes,
            }
            for load in plan.loads
        ],
    }


def runtime_document(plan: Plan) -> dict[str, Any]:
    """The runtime in llama.cpp's words. `gpu_layers` null means all."""
    runtime = plan.runtime
    return {
        "context_tokens": runtime.context_tokens,
        "parallel": plan.parallel,
        "sequences": runtime.sequences,
        "cache_type_k": runtime.cache_type_k,
        "cache_type_v": runtime.cache_type_v,
        "gpu_layers": runtime.gpu_layers,
        "cpu_moe_layers": runtime.cpu_expert_layers,
        "tensor_split": list(runtime.tensor_split),
        "n_batch": runtime.batch_tokens,
        "n_ubatch": runtime.batch_tokens,
        "n_outputs_max": runtime.outputs_max,
        "swa_full": runtime.swa_full,
        "load_mode": runtime.load_mode,
        "kv_unified": runtime.kv_unified,
        "flash_attn": runtime.flash_attention,
        "pooling": runtime.pooling,
    }


def machine_document(machine: Machine) -> dict[str, Any]:
    return {
        "imagined": machine.imagined,
        "places": [
            {
                "name": place.name,
                "description": place.description,
                "total_bytes": place.total_bytes,
                "free_bytes": place.free_bytes,
                "margin_bytes": place.margin_bytes,
                "room_bytes": place.room_bytes,
                "unified": place.unified,
            }
            for place in machine.places
        ],
    }


def _change_document(change: Change) -> dict[str, Any]:
    plan = change.plan
    return {
        "kind": change.kind,
        "text": change.text,
        "plan": None if plan is None else _point(plan),
    }


def _point(plan: Plan) -> dict[str, Any]:
    return {
        "quantization": plan.quantization,
        "context_tokens": plan.runtime.context_tokens,
        "where": plan.where,
        "headroom_bytes": plan.headroom_bytes,
        "decode_tokens_per_second": plan.speed.decode if plan.speed is not None else None,
        "runtime": runtime_document(plan),
    }
