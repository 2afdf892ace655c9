"""Which limits apply to whom."""

from __future__ import annotations

import pytest

from localserve.errors import ConfigInvalid
from localserve.gateway.caller import ANYONE, Caller
from localserve.gateway.limits import RateLimits, Rates, parse_routes
from localserve.gateway.metered import caller_id, expected_tokens

ROUTES = {"/chat/completions": Rates(30, 9000), "/admin": Rates(10), "/admin/keys": Rates(2)}


def test_routes_are_written_as_path_requests_tokens() -> None:
    text = "/chat/completions=30/9000, /v1/admin/=10,/embeddings=/500"
    assert parse_routes(text) == {
        "/chat/completions": Rates(30, 9000),
        "/admin": Rates(10, None),
        "/embeddings": Rates(None, 500),
    }
    assert parse_routes(None) == {}


@pytest.mark.parametrize("text", ["chat=3", "/chat", "/a=", "/a=/", "/a=x", "/a=0", "/a=-1"])
def test_what_is_no_limit_is_a_mistake_in_the_configuration(text: str) -> None:
    with pytest.raises(ConfigInvalid, match="ROUTE_LIMITS"):
        parse_routes(text)


def test_a_key_has_its_own_rate_or_that_of_all_and_the_routes_besides() -> None:
    limits = RateLimits(Rates(60, None), ROUTES, burst_seconds=30.0)
    own = Caller("laptop", requests_per_minute=120, tokens_per_minute=1000)
    requests = limits.requests_of("key:1", own, "/chat/completions")
    assert [(one.per_minute, one.burst) for one in requests.values()] == [(120, 60.0), (30, 15.0)]
    tokens = limits.tokens_of("key:1", own, "/chat/completions")
    assert [one.per_minute for one in tokens.values()] == [1000, 9000]
    assert [one.per_minute for one in limits.requests_of("a", ANYONE, "/models").values()] == [60]
    assert limits.tokens_of("a", ANYONE, "/models") == {}
    deep = limits.requests_of("a", ANYONE, "/admin/keys/ci/rotate")
    assert [one.per_minute for one in deep.values()] == [60, 2]
    near = limits.requests_of("a", ANYONE, "/administrator")
    assert [one.per_minute for one in near.values()] == [60]


@pytest.mark.parametrize("path", ["/messages", "/api/chat", "/api/v0/chat/completions"])
def test_a_limit_of_one_dialects_chats_is_none_of_the_others(path: str) -> None:
    limits = RateLimits(Rates(60, None), ROUTES)
    assert [one.per_minute for one in limits.requests_of("a", ANYONE, path).values()] == [60]
    assert limits.tokens_of("a", ANYONE, path) == {}


def test_a_bucket_holds_one_at_least() -> None:
    (limit,) = RateLimits(Rates(1), burst_seconds=1.0).requests_of("a", ANYONE, "/").values()
    assert limit.burst == 1.0


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("127.0.0.1", "address:loopback"),
        ("::1", "address:loopback"),
        ("192.168.1.5", "address:192.168.1.5"),
        ("2001:db8:1:2:aaaa::1", "address:2001:db8:1:2::/64"),
        ("2001:db8:1:2:bbbb::9", "address:2001:db8:1:2::/64"),
        ("testclient", "address:other"),
    ],
)
def test_without_a_key_the_address_counts(address: str, found: str) -> None:
    assert caller_id({"client": (address, 1)}, ANYONE) == found
    assert caller_id({"client": (address, 1)}, Caller("laptop", "id")) == "key:id"


def test_a_request_may_use_its_prompt_and_all_its_answers() -> None:
    assert expected_tokens(400, 50, 2) == 200
    assert expected_tokens(400, None, 1) == 612
    assert expected_tokens(0, 0, 1) == 0
