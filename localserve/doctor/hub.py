"""Whether the hub can be reached, and takes the token."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from localserve.catalog.hub import token_header
from localserve.catalog.web import check_address
from localserve.doctor.finding import Finding
from localserve.doctor.subject import Subject
from localserve.errors import ModelUnusable

NAME = "hub"
PATH: Final = "/api/models?limit=1"
ASK_SECONDS: Final = 4.0

WITHOUT: Final = (
    "Models of this disk are served without it. HTTPS_PROXY says the way to the internet, and"
    " HF_ENDPOINT another hub; --offline asks none."
)


def check_hub(subject: Subject) -> Iterator[Finding]:
    endpoint = subject.settings.hub_endpoint
    if subject.offline:
        yield Finding(NAME, "ok", f"{endpoint} is not asked (offline)")
        return
    try:
        check_address(endpoint, endpoint)
    except ModelUnusable as error:
        yield Finding(NAME, "problem", error.message, error.hint or None)
        return
    yield _ask(endpoint)


def _ask(endpoint: str) -> Finding:
    import httpx2  # slow to import, and not needed offline

    headers = token_header()
    try:
        with httpx2.Client(timeout=ASK_SECONDS) as client:
            status = client.get(endpoint + PATH, headers=headers).status_code
    except UnicodeEncodeError:  # it has the token in it
        message = "the hub's token has characters that no token has"
        return Finding(NAME, "problem", message, "Set another HF_TOKEN, or run `hf auth login`.")
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
        message = f"{endpoint} cannot be reached: {error or type(error).__name__}"
        return Finding(NAME, "warning", message, WITHOUT)
    return _about_status(endpoint, status, "Authorization" in headers)


def _about_status(endpoint: str, status: int, has_token: bool) -> Finding:
    if status in (401, 403) and has_token:
        message = f"{endpoint} refuses the token (HTTP {status})"
        return Finding(NAME, "problem", message, "Set another HF_TOKEN, or run `hf auth login`.")
    if status != 200:
        message = f"{endpoint} answers with HTTP {status}"
        return Finding(NAME, "warning", message, WITHOUT)
    known = "takes the token" if has_token else "no token is set (HF_TOKEN), which few models need"
    return Finding(NAME, "ok", f"{endpoint} answers; {known}")
