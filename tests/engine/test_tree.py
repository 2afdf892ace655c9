"""The tree against a plain model of it: each slot a list of cells, each cell a token."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from localserve.engine.scripted import ScriptedCell, ScriptedState
from localserve.engine.tree import PrefixTree
from tests.engine.rig import token_array

tokens = st.lists(st.integers(0, 1), max_size=6)
slots = st.integers(0, 5)


def common(one: list[int], other: list[int]) -> int:
    return next(
        (at for at, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]),
        min(len(one), len(other)),
    )


class AnyTree(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.tree = PrefixTree()
        self.held: dict[int, list[ScriptedCell]] = {}
        self.scopes: dict[int, str] = {}

    @rule(slot=slots, scope=st.sampled_from("ab"), more=tokens)
    def extend(self, slot: int, scope: str, more: list[int]) -> None:
        scope = self.scopes.get(slot, scope)
        self.tree.extend(slot, scope, more)
        if not more:
            return
        self.scopes[slot] = scope
        self.held.setdefault(slot, []).extend(map(ScriptedCell, more))

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def cut(self, data: st.DataObject) -> None:
        slot = data.draw(st.sampled_from(sorted(self.held)))
        length = data.draw(st.integers(0, len(self.held[slot])))
        self.tree.cut(slot, length)
        self.held[slot] = self.held[slot][:length]
        if not length:
            del self.held[slot], self.scopes[slot]

    @precondition(lambda self: 0 < len(self.held) < 6)
    @rule(data=st.data())
    def fork(self, data: st.DataObject) -> None:
        source = data.draw(st.sampled_from(sorted(self.held)))
        target = next(slot for slot in range(6) if slot not in self.held)
        length = data.draw(st.integers(1, len(self.held[source])))
        self.tree.fork(source, target, length)
        self.held[target] = self.held[source][:length]
        self.scopes[target] = self.scopes[source]

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def save(self, data: st.DataObject) -> None:
        slot = data.draw(st.sampled_from(sorted(self.held)))
        self.tree.keep_state(slot, ScriptedState(tuple(self.texts()[slot])))

    @rule(scope=st.sampled_from("ab"), wanted=st.lists(st.integers(0, 1), max_size=12))
    def longest(self, scope: str, wanted: list[int]) -> None:
        texts = {slot: text for slot, text in self.texts().items() if self.scopes[slot] == scope}
        expected = max((common(text, wanted) for text in texts.values()), default=0)
        match = self.tree.longest(scope, token_array(*wanted))
        assert (match.length if match else 0) == expected
        partings = dict(self.tree.partings(scope, match))
        assert set(partings) == set(texts)
        for slot, equal in partings.items():
            assert equal <= common(texts[slot], wanted)
            assert self.tree.tokens(slot, equal).tolist() == texts[slot][equal:]
        assert max(partings.values(), default=0) == expected
        last = expected + 1
        for length, holders, state in match.candidates() if match else ():
            assert length < last
            last = length
            assert holders
            for slot in holders:
                assert texts[slot][:length] == wanted[:length]
            if state is not None:
                assert isinstance(state, ScriptedState)
                assert list(state.tokens) == wanted[:length]
        if match:
            some = sorted(self.held)[::2]
            assert self.tree.held_of(match, some) == self.shared_with(
                match.node.path(), some, match.length
            )

    def shared_with(self, path: object, some: list[int], length: int) -> int:
        """How many of the match's cells the slots in `some` hold, by the cells themselves."""
        nodes = set(path)  # type: ignore[call-overload]
        holder = next(slot for slot in self.held if nodes <= set(self.tree._ends[slot].path()))
        cells = self.held[holder][:length]
        theirs = {id(cell) for slot in some for cell in self.held[slot]}
        return sum(id(cell) in theirs for cell in cells)

    def texts(self) -> dict[int, list[int]]:
        return {slot: [cell.token for cell in cells] for slot, cells in self.held.items()}

    @invariant()
    def each_slot_holds_its_tokens(self) -> None:
        assert set(self.tree.slots) == set(self.held)
        for slot, text in self.texts().items():
            assert self.tree.tokens(slot).tolist() == text
            assert self.tree.length(slot) == len(text)

    @invariant()
    def each_cell_is_counted_once(self) -> None:
        assert self.tree.cells == len(self.ids(*self.held))
        assert self.tree.held_cells([0, 2, 4]) == len(self.ids(0, 2, 4))
        for slot in self.held:
            others = self.ids(*(other for other in self.held if other != slot))
            assert self.tree.own_cells(slot) == len(self.ids(slot) - others)

    @invariant()
    def what_another_slot_begins_with_is_doubled(self) -> None:
        texts = self.texts()
        for slot, text in texts.items():
            doubled = any(
                texts[other][: len(text)] == text
                for other in texts
                if other != slot and self.scopes[other] == self.scopes[slot]
            )
            assert self.tree.is_doubled(slot) == doubled

    @invariant()
    def beginnings_are_of_what_goes_on(self) -> None:
        texts = self.texts()
        for slot, text in texts.items():
            assert self.tree.beginnings_of(slot) == {
                other
                for other, beginning in texts.items()
                if beginning
                and other != slot
                and text[: len(beginning)] == beginning
                and self.scopes[other] == self.scopes[slot]
            }

    def ids(self, *slots: int) -> set[int]:
        return {id(cell) for slot in slots for cell in self.held.get(slot, [])}


TestAnyTree = AnyTree.TestCase
TestAnyTree.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)


@given(st.integers(1, 400))
def test_a_prefix_that_grows_token_by_token_stays_one_node(count: int) -> None:
    tree = PrefixTree()
    for token in range(count):
        tree.extend(0, "", [token])
    assert tree.tokens(0).tolist() == list(range(count))
    match = tree.longest("", token_array(*range(count)))
    assert match is not None
    assert len(list(match.node.path())) == 2


def test_an_empty_tree_finds_nothing() -> None:
    tree = PrefixTree()
    assert tree.longest("", token_array(1)) is None
    assert (tree.cells, tree.length(3), tree.own_cells(3)) == (0, 0, 0)
