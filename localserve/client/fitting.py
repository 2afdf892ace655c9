"""`fit` of this machine, by the command `localserve fit` in a child process. Blocking; any thread.

What asks drivers may hang or crash; a child may.
"""

from __future__ import annotations

import json
import subprocess
import sys

from localserve.client.errors import FitFailed
from localserve.client.values import Fit

FIT_SECONDS = 300.0


def fit(name: str, *, context_tokens: int | None = None, offline: bool = False) -> Fit:
    """Whether a model fits, before it is downloaded.

    Raises: FitFailed.
    """
    command = [sys.executable, "-m", "localserve", "fit", "--json"]
    if context_tokens is not None:
        command += ["--ctx", str(context_tokens)]
    if offline:
        command.append("--offline")
    command += ["--", name]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=FIT_SECONDS, check=False
        )
        document = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        raise FitFailed(f"{name!r}: no answer within {FIT_SECONDS:.0f} s.") from None
    except ValueError:
        raise FitFailed(f"{name!r}: {done.stderr.strip()[-300:]}") from None
    if "error" in document:
        error = document["error"]
        raise FitFailed(f"{error['message']} {error['hint']}".rstrip())
    return Fit(bool(document["fits"]), document.get("quantization"), document)
