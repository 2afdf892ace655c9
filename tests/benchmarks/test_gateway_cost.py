"""The cost of the gateway: its figures, and that both sides are what they are said to be."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from benchmarks.client import BenchmarkFailed
from benchmarks.gateway_cost import HEADINGS, Asked, Pair, added, cells, lost, server
from localserve.loadtest.answer import Answer, read_exchange
from localserve.loadtest.client import Load, load_client

PAIRS = [Pair(0.0035, 0.002), Pair(0.004, 0.003), Pair(0.005, 0.0025)]


def test_what_is_added_is_the_median_of_the_rounds() -> None:
    cost = added("first token", PAIRS)
    assert (cost.on, cost.off) == pytest.approx((4.0, 2.5))
    assert (cost.value, cost.least, cost.most) == pytest.approx((1.5, 1.0, 2.5))
    assert cost.verdict == "< 2 met"


def test_what_is_lost_is_a_share() -> None:
    cost = lost("tokens/s", [Pair(90, 100), Pair(99, 100), Pair(202, 200)], goal=3.0)
    assert (cost.value, cost.least, cost.most) == pytest.approx((1.0, -1.0, 10.0))
    assert cost.verdict == "< 3 met"
    assert lost("tokens/s", [Pair(90, 100)], goal=3.0).verdict == "< 3 missed"
    assert lost("tokens/s", [Pair(90, 100)], goal=None).verdict == ""


def test_a_rate_of_nothing_is_no_rate() -> None:
    with pytest.raises(BenchmarkFailed, match="nothing was answered"):
        lost("tokens/s", [Pair(10, 0)], goal=3.0)


def test_a_line_of_the_table_has_the_cost_and_its_spread() -> None:
    line = cells(added("first token", PAIRS))
    assert len(line) == len(HEADINGS)
    assert line == ("first token", "4", "2.5", "+1.5 ms", "+1 to +2.5", "< 2 met")


def ask(load: Load) -> httpx2.Response:
    """A request with the key of the load."""
    headers = {"authorization": f"Bearer {load.key}"} if load.key else {}
    body = {"messages": [{"role": "user", "content": "Hello"}]}
    return httpx2.post(f"{load.url}/v1/chat/completions", json=body, headers=headers)


async def answer_of(load: Load) -> Answer:
    async with load_client(load) as client:
        found = read_exchange(await client.ask())
    assert isinstance(found, Answer)
    return found


@pytest.mark.e2e
def test_on_guards_and_counts_and_off_does_not(tmp_path: Path) -> None:
    asked = Asked("test", users=1, tokens=3, token_ms=0.0)
    with server(True, asked, tmp_path) as on, server(False, asked, tmp_path) as off:
        assert ask(Load(on.url)).status_code == 401
        assert "x-ratelimit-limit-tokens" in ask(on).headers
        assert "x-ratelimit-limit-tokens" not in ask(off).headers
        assert [asyncio.run(answer_of(load)).tokens for load in (on, off)] == [3, 3]
        bearer = {"authorization": f"Bearer {on.key}"}
        assert httpx2.get(f"{on.url}/metrics").status_code == 401
        hosts = [
            httpx2.get(f"{load.url}/v1/models", headers={"host": "evil.example", **bearer})
            for load in (on, off)
        ]
        assert [response.status_code for response in hosts] == [403, 200]


@pytest.mark.e2e
def test_a_quick_run_tells_all_figures() -> None:
    command = [sys.executable, "-m", "benchmarks.gateway_cost", "--quick", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["settings"]["rounds"] == "1"
    names = [cost["figure"] for cost in document["samples"]]
    assert names == ["first token, p50", "tokens/s", "tokens/s, unpaced"]
    assert all(cost["on"] > 0 and cost["off"] > 0 for cost in document["samples"])
