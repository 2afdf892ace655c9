"""The routes that tell what fits, and who may ask them."""

from __future__ import annotations

from pathlib import Path

import pytest

from localserve.catalog.registry import SHIPPED_FILE
from localserve.catalog.spec import LocalFile
from localserve.config import read_settings
from localserve.gateway.store import KeyStore
from localserve.planner.hardware import Hardware, probe
from localserve.server.openapi import bodies
from localserve.testing import FakeBackend, fake_manager
from tests.planner.recorded import RecordedReadings
from tests.server.conftest import Serve


@pytest.fixture
def hardware(tmp_path: Path) -> Hardware:
    settings = read_settings(environ={"LOCALSERVE_HOME": str(tmp_path / "home")})
    return probe(settings, RecordedReadings(tmp_path / "machine"))


def machine_of(hardware: Hardware) -> dict[str, object]:
    async def look() -> Hardware:
        return hardware

    return {"arguments": {"look": look}}


async def test_every_model_has_its_verdict_and_one_has_the_whole_plan(
    call: Serve, hardware: Hardware
) -> None:
    async with call(**machine_of(hardware)) as served:
        document = (await served.client.get("/admin/fit")).json()
        bodies.Judgements.model_validate(document, strict=True)
        models = {one["model"]: one for one in document["models"]}
        assert models["fake"] == {
            "model": "fake",
            "on_disk": True,
            "problem": models["fake"]["problem"],
            "level": None,
            "plan": None,
        }
        assert models["fake"]["problem"]
        qwen = models["qwen3-8b"]
        assert (qwen["level"], qwen["on_disk"], qwen["plan"]["fits"]) == ("fits", False, True)
        assert document["machine"]["places"][0]["name"] == "CPU"
        one = (await served.client.get("/admin/fit/qwen3-8b")).json()
        bodies.Fitted.model_validate(one, strict=True)
        assert (one["model"], one["level"]) == ("qwen3-8b", "fits")
        assert one["explanation"]["terms"]["weights"] > 0
        assert {point["quantization"] for point in one["grid"]} == {
            plan["quantization"] for plan in one["quantizations"]
        }
        assert (await served.client.get("/admin/fit/nothing")).status_code == 404


async def test_a_model_of_this_disk_is_planned_from_its_file(
    call: Serve, hardware: Hardware
) -> None:
    manager = fake_manager(FakeBackend())
    spec = manager.spec
    object.__setattr__(spec, "source", LocalFile(SHIPPED_FILE.with_name("builtin.gguf")))
    async with call(manager=manager, **machine_of(hardware)) as served:
        one = (await served.client.get("/admin/fit/fake")).json()
        assert (one["level"], one["size_bytes"]) == (
            "fits",
            SHIPPED_FILE.with_name("builtin.gguf").stat().st_size,
        )


async def test_a_server_that_looks_at_no_machine_plans_nothing(call: Serve) -> None:
    async with call() as served:
        assert (await served.client.get("/admin/fit")).status_code == 404


async def test_it_is_the_administrators(call: Serve, hardware: Hardware, tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "keys.sqlite")
    asking, admin = (
        store.create(name, now=0.0, scope=scope).secret
        for name, scope in (("me", "inference"), ("root", "admin"))
    )
    async with call(data_dir=tmp_path, **machine_of(hardware)) as served:
        for path in ("/admin/fit", "/admin/fit/qwen3-8b"):
            for secret, status in ((asking, 403), (admin, 200)):
                headers = {"authorization": f"Bearer {secret}"}
                answer = await served.client.get(path, headers=headers)
                assert answer.status_code == status
