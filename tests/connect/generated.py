"""Documents as hypothesis makes them: objects, lists, lists of named things, scalars."""

from __future__ import annotations

from hypothesis import strategies as st

SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "b"])
NAMES = st.sampled_from(["a", "b", "c", "name"])


def _named_lists(values: st.SearchStrategy[object]) -> st.SearchStrategy[list[object]]:
    item = st.builds(
        lambda name, rest: {**rest, "name": name},
        st.sampled_from(["x", "y", "z"]),
        st.dictionaries(st.sampled_from(["a", "b"]), values, max_size=2),
    )
    return st.lists(item, max_size=3, unique_by=lambda one: str(one["name"])).map(list)


VALUES: st.SearchStrategy[object] = st.recursive(
    SCALARS,
    lambda inner: (
        st.dictionaries(NAMES, inner, max_size=3)
        | _named_lists(inner)
        | st.lists(inner, max_size=2)
    ),
    max_leaves=8,
)
DOCUMENTS = st.dictionaries(NAMES, VALUES, max_size=4)
