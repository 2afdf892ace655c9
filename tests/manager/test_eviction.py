"""Who makes room: enough of it, at the least cost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from localserve.manager.eviction import Candidate, choose_victims


def candidate(
    name: str, size: int, reload_seconds: float = 10.0, idle: float = 100.0, **more: object
) -> Candidate:
    return Candidate(name, {"CPU": size}, reload_seconds, idle, **more)  # type: ignore[arg-type]


def test_the_one_that_is_quickest_to_load_again_goes() -> None:
    slow, quick = candidate("slow", 100, 60), candidate("quick", 100, 5)
    assert choose_victims([slow, quick], {"CPU": 50}) == ("quick",)


def test_of_equals_the_one_that_nobody_has_asked_for_the_longest_goes() -> None:
    recent, old = candidate("recent", 100, idle=5), candidate("old", 100, idle=500)
    assert choose_victims([recent, old], {"CPU": 50}) == ("old",)


def test_one_that_frees_too_little_is_not_unloaded_in_vain() -> None:
    small, large = candidate("small", 10, 1), candidate("large", 100, 60)
    assert choose_victims([small, large], {"CPU": 50}) == ("large",)


def test_one_large_model_goes_rather_than_two_that_cost_more_together() -> None:
    models = [candidate("a", 60, 10), candidate("b", 60, 10), candidate("c", 500, 15)]
    assert choose_victims(models, {"CPU": 100}) == ("c",)


def test_a_model_on_another_device_does_not_help() -> None:
    elsewhere = Candidate("gpu", {"GPU0": 100}, 1, 1000)
    assert choose_victims([elsewhere], {"CPU": 1}) is None


def test_a_keep_alive_is_kept_as_long_as_others_suffice() -> None:
    promised, other = candidate("promised", 100, 1, promised=True), candidate("other", 100, 60)
    assert choose_victims([promised, other], {"CPU": 50}) == ("other",)
    assert set(choose_victims([promised, other], {"CPU": 150}) or ()) == {"promised", "other"}


sizes = st.fixed_dictionaries({"CPU": st.integers(0, 50), "GPU0": st.integers(0, 50)})
candidates = st.lists(
    st.tuples(sizes, st.floats(0, 100), st.floats(0, 1000), st.booleans()), max_size=7
).map(
    lambda drawn: [
        Candidate(str(number), bytes_, reload_seconds, idle, promised)
        for number, (bytes_, reload_seconds, idle, promised) in enumerate(drawn)
    ]
)
lacks = st.dictionaries(st.sampled_from(["CPU", "GPU0"]), st.integers(1, 100), min_size=1)


@given(candidates, lacks)
def test_victims_free_enough_and_none_of_them_could_stay(
    models: list[Candidate], missing: dict[str, int]
) -> None:
    def enough(names: set[str]) -> bool:
        going = [model for model in models if model.name in names]
        return all(
            sum(model.device_bytes[device] for model in going) >= lack
            for device, lack in missing.items()
        )

    victims = choose_victims(models, missing)
    if victims is None:
        assert not enough({model.name for model in models})
        return
    assert enough(set(victims))
    for name in victims:
        assert not enough(set(victims) - {name})
