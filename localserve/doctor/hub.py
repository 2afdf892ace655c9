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
ASK_SECONDS: Final = 5.0

WITHOUT = "Models that are here are served without it; a proxy is set by HTTPS_PROXY."


def check_hub(subject: Subject) -> Iterator[Finding]:
    endpoint = subject.settings.hub_endpoint
    if subject.offline:
        yield Finding(NAME, "ok", f"{endpoint} is not asked (offline)")
        return
    import httpx2  # slow to import, and not needed offline

    try:
        check_address(endpoint, endpoint)
        headers = token_header()
        with httpx2.Client(timeout=ASK_SECONDS) as client:
            status = client.get(endpoint + PATH, headers=headers).status_code
    except ModelUnusable as error:
        yield Finding(NAME, "problem", error.message, error.hint)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        message = f"{endpoint} cannot be reached: {error or type(error).__name__}"
        yield Finding(NAME, "warning", message, WITHOUT)
    else:
        yield _about_status(endpoint, status, "Authorization" in headers)


def _about_status(endpoint: str, status: int, has_token: bool) -> Finding:
    if status in (401, 403) and has_token:
        message = f"{endpoint} refuses the token (HTTP {status})"
        return Finding(NAME, "problem", message, "Set another HF_TOKEN, or run `hf auth login`.")
    if status != 200:
        message = f"{endpoint} answers with HTTP {status}"
        remedy = "Try again later; HF_ENDPOINT and the network's proxy say who is asked."
        return Finding(NAME, "warning", message, remedy)
    known = "with a token" if has_token else "without a token"
    return Finding(NAME, "ok", f"{endpoint} answers, {known}")
