"""A block of lines between two marks."""

from __future__ import annotations

import pytest

from localserve.connect.blocks import BLOCK, Block

VIM = Block('"')
VIMRC = 'set number\n" my own\nlet x = 1\n'


def test_the_block_comes_first_and_goes_without_a_trace() -> None:
    text = VIM.rewrite(VIMRC, {BLOCK: "let a = 1\nlet b = 2"})
    assert text.endswith(VIMRC)
    assert text.startswith('" localserve: ')
    assert VIM.parse(text) == {BLOCK: "let a = 1\nlet b = 2"}
    assert VIM.rewrite(text, {}) == VIMRC


def test_a_second_block_takes_the_place_of_the_first() -> None:
    text = "first\n" + VIM.rewrite(VIMRC, {BLOCK: "let a = 1"})
    again = VIM.rewrite(text, {BLOCK: "let a = 2"})
    assert again == text.replace("let a = 1", "let a = 2")


@pytest.mark.parametrize("text", ["", VIMRC, '" localserve: end\n', "a\r\nb\r\n"])
def test_a_file_without_the_block_has_none(text: str) -> None:
    assert VIM.parse(text) == {}
    assert VIM.rewrite(text, {}) == text


def test_line_ends_of_the_file_are_used() -> None:
    text = VIM.rewrite("a\r\n", {BLOCK: "b\nc"})
    assert text.count("\r\n") == text.count("\n")
    assert VIM.parse(text) == {BLOCK: "b\nc"}
    assert VIM.rewrite(text, {}) == "a\r\n"
