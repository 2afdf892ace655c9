"""Sixty lines that must be redacted, sixty that must not, and what hides between them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localserve.telemetry.redaction import is_card_number, redact

# Put together here, so that no scanner of repositories takes them for real ones.
A = "aB3dE5gH7jK9mN1pQ2sT4vW6"
B = "Zx9Yw8Vu7Ts6Rq5Po4Nm3Lk2"

MUST = [
    (f"my key is sk-{A}", f"sk-{A}", "[SECRET]"),
    (f"ANTHROPIC_API_KEY=sk-ant-api03-{A}-{B}", f"sk-ant-api03-{A}-{B}", "[SECRET]"),
    (f"OPENAI_API_KEY: sk-proj-{A}_{B}", f"sk-proj-{A}_{B}", "[SECRET]"),
    (f"stripe sk_live_{A}, please", f"sk_live_{A}", "[SECRET]"),
    (f"pk_test_{B}", f"pk_test_{B}", "[SECRET]"),
    (f"localserve key ls-0a1b2c3d-{A}{B[:19]}", f"ls-0a1b2c3d-{A}", "[SECRET]"),
    (f"hf_{A}{B}", f"hf_{A}", "[SECRET]"),
    (f"git clone https://ghp_{A}{B}@github.com/o/r", f"ghp_{A}", "[SECRET]"),
    (f"token github_pat_{A}_{B}", f"github_pat_{A}", "[SECRET]"),
    (f"glpat-{A[:20]}", f"glpat-{A[:20]}", "[SECRET]"),
    ("xoxb" + f"-123456789012-{A}", "123456789012", "[SECRET]"),
    ("AKIA" + "IOSFODNN7EXAMPLE is the id", "IOSFODNN7EXAMPLE", "[SECRET]"),
    ("AIza" + f"Sy{A}{B[:9]}", f"Sy{A}", "[SECRET]"),
    ("ya29." + f"{A}{B}", A, "[SECRET]"),
    (f"npm_{A}{B[:12]}", f"npm_{A}", "[SECRET]"),
    (f"pypi-AgEIcHlwaS5vcmc{A}", "AgEIcHlwaS5vcmc", "[SECRET]"),
    ("SG" + f".{A[:22]}.{B}{A[:19]}", A[:22], "[SECRET]"),
    (f"gsk_{A}{B}", f"gsk_{A}", "[SECRET]"),
    (f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.{A}", "eyJzdWIiOiIxMjM0In0", "[SECRET]"),
    (f"Authorization: Bearer {A}", A, "[SECRET]"),
    ("authorization: basic dXNlcjpwYXNzd29yZDEyMw==", "dXNlcjpwYXNzd29yZDEyMw", "[SECRET]"),
    ("postgres://admin:hunter2@db:5432/app", "hunter2", "[SECRET]"),
    ("redis://:s3cr3tpassw0rd@cache/0", "s3cr3tpassw0rd", "[SECRET]"),
    ('{"password": "correct horse"}', "correct", "[SECRET]"),
    ("password=tr0ub4dor&3", "tr0ub4dor", "[SECRET]"),
    ("AWS_SECRET_ACCESS_KEY = wJalrXUtnFEMI7MDENGbPxRfiCYEXAMPLEKEY", "wJalrXUtn", "[SECRET]"),
    (r"{\"api_key\": \"abcd1234efgh\"}", "abcd1234efgh", "[SECRET]"),
    ("client_secret: 8f14e45fceea167a5a36dedd4bea2543", "8f14e45fceea", "[SECRET]"),
    (
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\n-----END RSA PRIVATE KEY-----",
        "MIIEpAIBAAKCAQEA",
        "[SECRET]",
    ),
    ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk", "b3BlbnNzaC1rZXk", "[SECRET]"),
    ("write to john.smith@example.com today", "john.smith@example.com", "[EMAIL]"),
    ("Jane <jane+news@mail.example.co.uk>", "jane+news@mail.example.co.uk", "[EMAIL]"),
    ("mailto:info@firma.de?subject=x", "info@firma.de", "[EMAIL]"),
    ("jürgen@müller.de", "jürgen@müller.de", "[EMAIL]"),
    ('"email":"a_b-c@x-y.org"', "a_b-c@x-y.org", "[EMAIL]"),
    ("first.last@sub.sub2.domain.museum.", "first.last@sub.sub2.domain.museum", "[EMAIL]"),
    (r"text\nbob@example.org", "bob@example.org", "[EMAIL]"),
    ("me@example.com,you@example.com", "you@example.com", "[EMAIL]"),
    ("card 4111 1111 1111 1111 exp 12/28", "1111 1111", "[CARD]"),
    ("4111111111111111", "4111111111111111", "[CARD]"),
    ("5500-0000-0000-0004", "0000-0004", "[CARD]"),
    ("2223003122003222", "2223003122003222", "[CARD]"),
    ("amex 3782 822463 10005", "822463", "[CARD]"),
    ("371449635398431 is mine", "371449635398431", "[CARD]"),
    ("Discover: 6011 1111 1111 1117", "6011 1111", "[CARD]"),
    ("diners 3056 930902 5904", "930902", "[CARD]"),
    ("JCB 3530111333300000", "3530111333300000", "[CARD]"),
    ("unionpay 6200000000000005", "6200000000000005", "[CARD]"),
    ("order 12 4111 1111 1111 1111", "4111 1111", "[CARD]"),
    ("id,12,4012888888881881,x", "4012888888881881", "[CARD]"),
    (r"numbers:\n4012888888881881\n", "4012888888881881", "[CARD]"),
    ("call +1 (555) 123-4567", "123-4567", "[PHONE]"),
    ("+49 171 1234567 or so", "171 1234567", "[PHONE]"),
    ("phone:+442079460958", "442079460958", "[PHONE]"),
    ("+33 1 23 45 67 89", "23 45 67 89", "[PHONE]"),
    ("0049 30 12345678", "30 12345678", "[PHONE]"),
    ("555-123-4567", "555-123-4567", "[PHONE]"),
    ("(212) 555-0123", "555-0123", "[PHONE]"),
    ("0171 1234567", "0171 1234567", "[PHONE]"),
    ("name,020 7946 0958,12", "7946 0958", "[PHONE]"),
]

MUST_NOT = [
    "",
    "The quick brown fox jumps over the lazy dog.",
    "max_tokens: 4096, temperature: 0.7",
    '{"model": "qwen3-8b", "max_tokens": 512, "stream": true}',
    "def connect(password: str, api_key: str | None = None) -> None:",
    'api_key = os.environ["OPENAI_API_KEY"]',
    "api_key=settings.api_key",
    "password=password, user=user",
    '"password": null',
    '{"api_key": "string"}',
    "the password: required",
    "Bearer authentication is described in RFC 6750",
    "basic understanding of networks",
    "pip install sk-learn-contrib-estimators",
    "import sklearn as sk",
    "npm_config_registry and npm_lifecycle_event",
    "task-based scheduling of risk-averse agents",
    "the secret of success: hard work",
    "access_token: ${ACCESS_TOKEN}",
    "pwd: /home/user1/project",
    "@dataclass(frozen=True)",
    "ping @alice about it",
    "git@github.com:owner/repository.git",
    "git clone git@gitlab.example.com:group/project.git",
    "npm install react@18.2.0 @types/node@20.11.5",
    "docker pull image@sha256:0123456789abcdef",
    "root@localhost:~#",
    "y = x @ W.T + b",
    "3 apples @ 2.50 each",
    "a@b",
    "4111 1111 1111 1112",
    "1234 5678 9012 3456",
    "1234567812345678",
    "4111111111111111111111111",
    "id a4111111111111111f",
    "0.4111111111111111",
    "2026-11-26T03:29:22.123456Z",
    "2026-11-26 03:29:22,123",
    "26.11.2026 14:30",
    "11/26/2026",
    "seed=1732591762123456789",
    "timestamp 1732591762",
    "550e8400-e29b-41d4-a716-446655440000",
    "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "ISBN 978-3-16-148410-0",
    "192.168.100.200:8080",
    "2001:0db8:85a3:0000:0000:8a2e:0370:7334",
    "version 10.15.7.1234",
    "3.14159265358979323846",
    "1,234,567,890.12",
    "0123456789abcdef",
    "digits = '0123456789'",
    "UTC+02:00 and +0530",
    "+48.8566, +2.3522",
    "+1.25 2.50 3.75",
    "x = 100 + 200 * 300",
    "range(0, 1000000000)",
    "pages 100-200, 300-400",
    "ZIP 12345-6789",
    "0000123456",
]


def test_there_are_sixty_of_each() -> None:
    assert len(MUST) == len(MUST_NOT) == 60


@pytest.mark.parametrize(("text", "secret", "marker"), MUST)
def test_what_must_not_be_logged_becomes_a_marker(text: str, secret: str, marker: str) -> None:
    assert secret in text
    redacted = redact(text)
    assert marker in redacted
    assert secret not in redacted


@pytest.mark.parametrize("text", MUST_NOT)
def test_what_is_harmless_stays(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"password": "p@ss(w0rd1"', '"password": "[SECRET]"'),
        ('{"password": "ab&cd1234", "user": "b"}', '{"password": "[SECRET]", "user": "b"}'),
        ('"password": "correct horse, battery; staple"', '"password": "[SECRET]"'),
        ('"password": "Zq9"', '"password": "[SECRET]"'),
        ('"password":"$ecret/1","x":1', '"password":"[SECRET]","x":1'),
        ("password='/K7MDENG/bPx'", "password='[SECRET]'"),
        (r'"password": "a\"b1 c", "user": "b"', '"password": "[SECRET]", "user": "b"'),
        (r'"password": "ends\\", "user": "b"', '"password": "[SECRET]", "user": "b"'),
        (r"{\"password\": \"a b(c\", \"n\": 1}", r"{\"password\": \"[SECRET]\", \"n\": 1}"),
        (r"\"pwd\": \"a\\\"b1\", \"n\": 1", r"\"pwd\": \"[SECRET]\", \"n\": 1"),
        (r"\\\"pwd\\\": \\\"a b\\\", 1", r"\\\"pwd\\\": \\\"[SECRET]\\\", 1"),
        ('"password": "correct horse', '"password": "[SECRET]'),
        ('if password == "two words":', 'if password == "[SECRET]":'),
        ("DB_PASSWORD=Tr0ub4dor&3", "DB_PASSWORD=[SECRET]"),
        (r"DB_PASSWORD=ab\\cd1\nUSER=x", r"DB_PASSWORD=[SECRET]\nUSER=x"),
        ("DB_PASSWORD=$ecret1", "DB_PASSWORD=[SECRET]"),
        ("DB_PASSWORD=p@ss(w0rd1", "DB_PASSWORD=[SECRET]"),
        ("DB_PASSWORD=passw(0rd1", "DB_PASSWORD=[SECRET]"),
        ("/login?password=abc1234&user=bob", "/login?password=[SECRET]&user=bob"),
        (f'"password": "sk-{A} and more"', '"password": "[SECRET]"'),
        ('"password": "https://u:abc@host/x y"', '"password": "[SECRET]"'),
    ],
)
def test_a_value_goes_whole_by_its_name(text: str, expected: str) -> None:
    assert redact(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        '{"password": "", "user": "anna1"}',
        '"password": "string", "default": "a1b2c3"',
        '"password": "********"',
        '"password": "${DB_PASSWORD_1}"',
        '"password": "$DB_PASSWORD_1"',
        '"password": "<your password 1>"',
        '"password": "{{ vault.password1 }}"',
        '"pwd": "/home/user1/my project"',
        "private_key: /etc/ssl/key1.pem",
        "password=settings.passwords[1]",
        "api_key = load_key(name1)",
        "access_token: $TOKEN_1",
        '{"password": {"type": "string", "minLength": 8}}',
    ],
)
def test_what_stands_for_a_value_stays(text: str) -> None:
    assert redact(text) == text


def test_a_quotation_that_does_not_end_takes_no_more_than_its_first_word() -> None:
    rest = " and so on" * 200
    assert redact("The password: 'tis1" + rest) == "The password: '[SECRET]" + rest


def test_the_rest_of_a_line_stays_as_it_is() -> None:
    text = "Ann (ann@example.com, +49 171 1234567) paid with 4111 1111 1111 1111 twice."
    assert redact(text) == "Ann ([EMAIL], [PHONE]) paid with [CARD] twice."


def test_an_address_that_goes_on_in_another_hides_none() -> None:
    assert redact("to:ann@example.com.bob2@example.org") == "to:[EMAIL][EMAIL]"


def test_a_number_before_other_figures_is_still_found() -> None:
    assert redact("+1 555 234 5678 10 people") == "[PHONE] 10 people"
    assert redact("12 4111 1111 1111 1111 99") == "12 [CARD] 99"


def test_a_bound_never_leaves_a_part_of_what_is_redacted() -> None:
    text = "call +49 171 1234567 now"
    for most in range(len(text) + 1):
        shown = redact(text, most)
        assert "171" not in shown
        assert "+49" not in shown
        assert len(shown.replace("[PHONE]", "")) <= most
    assert redact(text, 5) == "call "
    assert redact(text, 6) == redact(redact(text), 6) == "call [PHONE]"


@pytest.mark.parametrize("digits", ["4111111111111111", "378282246310005", "6011000990139424"])
def test_the_check_digit_decides(digits: str) -> None:
    assert is_card_number(digits)
    others = [digits[:-1] + str(last) for last in range(10)]
    assert sum(map(is_card_number, others)) == 1


PARTS = ["password", "pwd=", "api_key", ":", "=", " ", '"', "'", "\\", "&", "&a=", ",", "(", "["]
PARTS += ["abc1", "$", "{", "}", "<", "\n", " x y"]


@given(st.text(max_size=300) | st.lists(st.sampled_from(PARTS)).map("".join))
def test_any_text_is_redacted_once_for_all(text: str) -> None:
    redacted = redact(text)
    assert redact(redacted) == redacted


@pytest.mark.parametrize(
    "text",
    [
        "a" * 60_000,
        "a@" * 30_000,
        "1 " * 30_000,
        "+1 " * 20_000,
        "0171 " * 12_000,
        "4111 " * 12_000,
        "a." * 30_000 + "@",
        "-----BEGIN PRIVATE KEY-----" * 2_000,
        "://a:b" * 10_000,
        "password=" * 7_000,
        "password='" + "a" * 60_000,
        'password="a' * 6_000,
        "password=" + "\\" * 60_000,
        "password=" + "&a" * 30_000,
        "password" + " " * 60_000,
        "".join(f"pwd={chr(92) * (n % 9)}'\\a" for n in range(8_000)),
        "eyJaaaaaaaaaaa." * 4_000,
        "+" + "1" * 60_000 + "a",
        "a@b.cc " * 8_000,
        "a@b.cc." * 8_000,
    ],
    ids=lambda text: text[:12],
)
def test_no_text_takes_more_than_a_moment(text: str) -> None:
    """Patterns that look back and forth would take minutes for these, and end the test run."""
    assert len(redact(text)) <= 2 * len(text)
