"""A template's format, rendered where templates are rendered: in a child process.

Lives on the event loop; comparing is done in a worker.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from localserve.errors import TemplateFailed
from localserve.prompting.output.derive import derive_format
from localserve.prompting.output.format import OutputFormat
from localserve.prompting.output.probes import probes
from localserve.prompting.sandbox import TemplateProcess

MOST_ENDLESS = 2
"""After so many probes that do not end in time, no more are tried."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A format, and whether each probe ended in time: if not, the template may say more of itself
    when the machine has more time for it."""

    format: OutputFormat
    in_time: bool


async def read_format(
    templates: TemplateProcess, source: str, *, bos: str = "", eos: str = ""
) -> Reading:
    """The format of the model whose chat template is `source`.

    A template that refuses a probe, or does not end in time, only says less of itself.

    Raises: Overloaded, Unavailable.
    """
    rendered: dict[str, str] = {}
    endless = 0
    clock = asyncio.get_running_loop().time
    for name, request in probes(source, bos=bos, eos=eos).items():
        started = clock()
        try:
            rendered[name] = await templates.render(request)
        except TemplateFailed:
            endless += clock() - started >= templates.render_seconds
            if endless == MOST_ENDLESS:
                break
    format = await asyncio.to_thread(derive_format, source, rendered)
    return Reading(format, in_time=not endless)
