"""What lies in the cells: for each scope a radix tree over token ids. Pure.

Each node is a run of cells and the tokens they hold; a slot holds the path from the root to where
it ends. Slots that share a beginning share its nodes, so each cell is counted once and is free when
the last slot that holds it lets go of it. What was computed twice lies in two nodes that begin
alike: the tree says what is, and does not merge what is apart.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from localserve.engine.prefixes import TokenArray, common_length

S = TypeVar("S")
"""What a checkpoint is, of which the tree only knows where it belongs."""

SMALLEST_ROOM = 64
"""Tokens that a growing node makes room for at once."""


class Node(Generic[S]):
    """The tokens from `start` on, and what follows them.

    `slots` are those that end exactly here. `states` are checkpoints by how many tokens, counted
    from the root, they stand for: more than `start`, at most `end`.
    """

    __slots__ = ("_length", "_room", "children", "parent", "slots", "start", "states")

    def __init__(self, parent: Node[S] | None, start: int, tokens: TokenArray) -> None:
        self.parent = parent
        self.start = start
        self._room = tokens
        self._length = len(tokens)
        self.children: list[Node[S]] = []
        self.slots: set[int] = set()
        self.states: dict[int, S] = {}

    @property
    def tokens(self) -> TokenArray:
        """Shape (end - start,)."""
        return self._room[: self._length]

    @property
    def end(self) -> int:
        return self.start + self._length

    def append(self, tokens: Sequence[int] | TokenArray) -> None:
        length = self._length + len(tokens)
        if length > len(self._room):
            room = np.empty(max(2 * length, SMALLEST_ROOM), dtype=np.int32)
            room[: self._length] = self.tokens
            self._room = room
        self._room[self._length : length] = tokens
        self._length = length

    def path(self) -> Iterator[Node[S]]:
        """This node and those before it, the root last."""
        node: Node[S] | None = self
        while node is not None:
            yield node
            node = node.parent

    def below(self) -> Iterator[tuple[int, int]]:
        """All slots that hold this node whole, as pairs of where it ends and the slot."""
        yield from ((self.end, slot) for slot in self.slots)
        for child in self.children:
            yield from child.below()


@dataclass(frozen=True, slots=True)
class Match(Generic[S]):
    """The first `length` tokens lie in the cells: the last of them in `node`, if there are any."""

    length: int
    node: Node[S]

    def candidates(self) -> Iterator[tuple[int, list[int], S | None]]:
        """Lengths to begin with, longest first, each with the slots that hold so much (those that
        hold least beyond it first) and the checkpoint of just that length, if there is one.

        After the longest come lengths at which a slot ends or a checkpoint was made.
        """
        for node in self.node.path():
            if node.parent is None:
                return
            most = min(self.length, node.end)
            lengths = {most, *(at for at in node.states if at <= most)}
            slots = [slot for _, slot in sorted(node.below())]
            for length in sorted(lengths, reverse=True):
                yield length, slots, node.states.get(length)


class PrefixTree(Generic[S]):
    """All slots that hold tokens, and the cells in use."""

    def __init__(self) -> None:
        self._roots: dict[str, Node[S]] = {}
        self._ends: dict[int, Node[S]] = {}
        self._cells = 0

    @property
    def cells(self) -> int:
        """Cells in use, shared ones once."""
        return self._cells

    @property
    def slots(self) -> Iterable[int]:
        """The slots that hold something."""
        return self._ends.keys()

    def scope(self, slot: int) -> str:
        """The scope of a slot that holds something."""
        root = self._root_of(slot)
        return next(name for name, one in self._roots.items() if one is root)

    def length(self, slot: int) -> int:
        """How many tokens the slot holds."""
        node = self._ends.get(slot)
        return node.end if node is not None else 0

    def tokens(self, slot: int, start: int = 0) -> TokenArray:
        """What the slot holds from `start` on. Shape (length - start,)."""
        runs: list[TokenArray] = [np.empty(0, dtype=np.int32)]
        for node in self._ends[slot].path() if slot in self._ends else ():
            runs.append(node.tokens[max(0, start - node.start) :])
            if node.start <= start:
                break
        return np.concatenate(runs[::-1])

    def own_cells(self, slot: int) -> int:
        """The cells that would be free if the slot were cleared."""
        free = 0
        for node in self._ends[slot].path() if slot in self._ends else ():
            if any(other != slot for _, other in node.below()):
                break
            free += node.end - node.start
        return free

    def is_doubled(self, slot: int) -> bool:
        """Whether another slot begins with all that this one holds, in the same cells or others."""
        root = self._root_of(slot)
        return any(other != slot for other in _beginning_with(root, self.tokens(slot)))

    def beginnings_of(self, slot: int) -> set[int]:
        """The other slots that hold nothing but a beginning of what this one holds, in the same
        cells or others."""
        root = self._root_of(slot)
        held = (node.slots for node in _along(root, self.tokens(slot)))
        return set().union(*held) - {slot}

    def _root_of(self, slot: int) -> Node[S]:
        return list(self._ends[slot].path())[-1]

    def held_cells(self, slots: Iterable[int]) -> int:
        """The cells that these slots hold together, shared ones once."""
        return sum(node.end - node.start for node in self._held(slots))

    def held_of(self, match: Match[S], slots: Iterable[int]) -> int:
        """How much of the match these slots hold."""
        held = self._held(slots)
        return max(
            (min(match.length, one.end) for one in match.node.path() if one in held), default=0
        )

    def _held(self, slots: Iterable[int]) -> set[Node[S]]:
        held: set[Node[S]] = set()
        for slot in slots:
            for node in self._ends[slot].path() if slot in self._ends else ():
                if node in held:
                    break
                held.add(node)
        return held

    # What is there already

    def longest(self, scope: str, tokens: TokenArray) -> Match[S] | None:
        """The longest beginning of `tokens` that lies in the cells; None where there is none."""
        root = self._roots.get(scope)
        if root is None:
            return None
        match = _descend(root, tokens)
        return match if match.length else None

    def partings(self, scope: str, match: Match[S] | None) -> Iterator[tuple[int, int]]:
        """All slots of a scope, each with how many tokens it has in common with the match."""
        root = self._roots.get(scope)
        path = set(match.node.path()) if match else {root}
        for end, slot in root.below() if root is not None else ():
            length = next(node.end for node in self._ends[slot].path() if node in path)
            yield slot, min(length, match.length, end) if match else 0

    # What changes

    def extend(self, slot: int, scope: str, tokens: Sequence[int] | TokenArray) -> None:
        """The slot holds these tokens too, behind what it holds."""
        if not len(tokens):
            return
        node = self._ends.get(slot)
        if node is None:
            node = self._roots.setdefault(scope, Node(None, 0, np.empty(0, dtype=np.int32)))
        elif node.parent is not None and not node.children and len(node.slots) == 1:
            node.append(tokens)
            self._cells += len(tokens)
            return
        child = Node(node, node.end, np.empty(0, dtype=np.int32))
        child.append(tokens)
        node.children.append(child)
        self._cells += len(tokens)
        self._move(slot, child)

    def cut(self, slot: int, length: int) -> None:
        """The slot holds only its first `length` tokens, or nothing."""
        if slot in self._ends and length < self._ends[slot].end:
            self._move(slot, self._node_at(slot, length) if length else None)

    def fork(self, source: int, target: int, length: int) -> None:
        """The empty slot `target` holds the first `length` tokens of `source`, one or more."""
        self._move(target, self._node_at(source, length))

    def keep_state(self, slot: int, state: S) -> None:
        """Remember a checkpoint of all that the slot holds now."""
        node = self._ends[slot]
        node.states[node.end] = state

    def drop_states(self, unwanted: Collection[S]) -> None:
        """Forget these checkpoints."""
        for node in self._nodes():
            node.states = {at: one for at, one in node.states.items() if one not in unwanted}

    def states_of(self, slot: int) -> dict[int, S]:
        """The checkpoints of what the slot holds, by how many tokens they stand for."""
        path = self._ends[slot].path() if slot in self._ends else ()
        return {at: one for node in path for at, one in node.states.items()}

    def states(self) -> Iterator[S]:
        """All checkpoints."""
        for node in self._nodes():
            yield from node.states.values()

    def _nodes(self) -> Iterator[Node[S]]:
        for root in self._roots.values():
            yield from _all(root)

    def _node_at(self, slot: int, length: int) -> Node[S]:
        """The node on the slot's path that ends at `length`, split off if need be."""
        node = next(one for one in self._ends[slot].path() if one.start < length)
        return node if node.end == length else self._split(node, length)

    def _split(self, node: Node[S], at: int) -> Node[S]:
        """Let a new node take over what lies before `at`."""
        assert node.parent is not None
        first = node.tokens[: at - node.start].copy()
        rest = node.tokens[at - node.start :].copy()
        upper = Node(node.parent, node.start, first)
        upper.states = {place: one for place, one in node.states.items() if place <= at}
        upper.children.append(node)
        node.parent.children[node.parent.children.index(node)] = upper
        node.states = {place: one for place, one in node.states.items() if place > at}
        node.parent, node.start = upper, at
        node._room, node._length = rest, len(rest)
        return upper

    def _move(self, slot: int, node: Node[S] | None) -> None:
        """Let the slot end at `node`; what nobody holds then is gone."""
        old = self._ends.pop(slot, None)
        if node is not None:
            node.slots.add(slot)
            self._ends[slot] = node
        if old is not None and old is not node:
            old.slots.discard(slot)
            self._tidy(old)

    def _tidy(self, node: Node[S]) -> None:
        """Remove a node that nobody holds, and join one that ends where nothing parts."""
        while not node.slots and not node.children and node.parent is not None:
            self._cells -= node.end - node.start
            node.parent.children.remove(node)
            node = node.parent
        if node.parent is None:
            if not node.children:
                self._roots = {name: one for name, one in self._roots.items() if one is not node}
        elif not node.slots and len(node.children) == 1:
            self._join(node, node.children[0])

    def _join(self, node: Node[S], child: Node[S]) -> None:
        node.append(child.tokens)
        node.children, node.slots = child.children, child.slots
        node.states.update(child.states)
        for one in node.children:
            one.parent = node
        for slot in node.slots:
            self._ends[slot] = node


def _descend(node: Node[S], tokens: TokenArray) -> Match[S]:
    best = Match(node.end, node)
    for child in node.children:
        length = common_length(child.tokens, tokens[child.start :])
        if length == 0:
            continue
        whole = child.start + length == child.end
        found = _descend(child, tokens) if whole else Match(child.start + length, child)
        if found.length > best.length:
            best = found
    return best


def _beginning_with(node: Node[S], tokens: TokenArray) -> Iterator[int]:
    """The slots at or below `node` whose tokens begin with `tokens`."""
    if node.end >= len(tokens):
        yield from (slot for _, slot in node.below())
        return
    for child in node.children:
        length = common_length(child.tokens, tokens[child.start :])
        if child.start + length in (child.end, len(tokens)):
            yield from _beginning_with(child, tokens)


def _along(node: Node[S], tokens: TokenArray) -> Iterator[Node[S]]:
    """The nodes below `node` that hold nothing but tokens that these begin with."""
    for child in node.children:
        if common_length(child.tokens, tokens[child.start :]) == child.end - child.start:
            yield child
            yield from _along(child, tokens)


def _all(node: Node[S]) -> Iterator[Node[S]]:
    yield node
    for child in node.children:
        yield from _all(child)
