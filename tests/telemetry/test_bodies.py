"""Texts in the log: few, bounded, and without what must not be there."""

from __future__ import annotations

import json

from localserve.telemetry.bodies import MARGIN_CHARACTERS, BodyExcerpt, BodySampler, unescape


def test_the_share_decides_who_is_drawn() -> None:
    chances = iter([0.0, 0.3, 0.5, 0.99])
    sampler = BodySampler(0.5, 100, lambda: next(chances))
    drawn = [sampler.draw() is not None for _ in range(4)]
    assert drawn == [True, True, False, False]
    assert BodySampler(0.0, 100, lambda: 0.0).draw() is None
    assert BodySampler(1.0, 100, lambda: 0.999).draw() is not None


def test_what_hides_in_escapes_is_found() -> None:
    excerpt = BodyExcerpt(500)
    arguments = json.dumps({"to": "line\nbob@example.org", "card": "\n4111111111111111"})
    body = {"messages": [{"content": "hi\n4012888888881881\u00fc"}, {"arguments": arguments}]}
    for chunk in (json.dumps(body)[:30], json.dumps(body)[30:]):
        excerpt.asked(chunk.encode())
    text = excerpt.request_text()
    assert text.count("[CARD]") == 2
    assert "[EMAIL]" in text
    assert "4012" not in text
    assert "4111" not in text
    assert "bob" not in text
    assert "ü" in text


def test_quotation_marks_within_a_password_do_not_end_it() -> None:
    login = {"password": 'a"b c\n"d1, e', "user": "anna"}
    body = {"login": login, "arguments": json.dumps(login)}
    excerpt = BodyExcerpt(500)
    excerpt.asked(json.dumps(body).encode())
    shown = '{"password": "[SECRET]", "user": "anna"}'
    assert excerpt.request_text() == f'{{"login": {shown}, "arguments": "{shown}"}}'


def test_an_answer_is_put_together_before_it_is_looked_at() -> None:
    excerpt = BodyExcerpt(500)
    for piece in ("Mail ", "bo", "b@exa", "mple.", "org now"):
        excerpt.answered(1, piece)
    excerpt.answered(0, "First. ")
    excerpt.answered(0, "4111 1111 ")
    excerpt.answered(0, "1111 1111")
    assert excerpt.answer_text() == "First. [CARD]\nMail [EMAIL] now"


def test_no_more_is_kept_than_can_be_shown() -> None:
    excerpt = BodyExcerpt(100)
    for _ in range(1000):
        excerpt.asked(b"x" * 1000)
        excerpt.answered(0, "y" * 1000)
    assert len(excerpt._asked) <= 6 * (100 + MARGIN_CHARACTERS)
    assert sum(map(len, excerpt._answers[0])) == 100 + MARGIN_CHARACTERS
    assert excerpt.request_text() == "x" * 100 + "... (1000000 bytes)"
    assert excerpt.answer_text() == "y" * 100 + "... (1000000 characters)"


def test_a_secret_across_the_bound_is_one() -> None:
    text = "x" * 95 + " bob@example.org and more"
    excerpt = BodyExcerpt(100)
    excerpt.asked(text.encode())
    excerpt.answered(0, text)
    assert excerpt.request_text().startswith("x" * 95 + " [EMAIL]...")
    assert "bob" not in excerpt.answer_text()


def test_bytes_that_are_no_text_do_no_harm() -> None:
    excerpt = BodyExcerpt(100)
    excerpt.asked(b'\xff\xfe{"a": "\\ud83d\\ude00 \\ud800"}')
    text = excerpt.request_text()
    assert "\U0001f600" in text
    text.encode()
    excerpt.answered(0, "a \ud800 b")
    excerpt.answer_text().encode()
    assert BodyExcerpt(100).request_text() == ""
    assert BodyExcerpt(100).answer_text() == ""


def test_escapes_are_undone_within_strings_of_strings() -> None:
    assert unescape(json.dumps(json.dumps("a\nb"))) == '"' + '"a\nb"' + '"'
    assert unescape("plain") == "plain"
