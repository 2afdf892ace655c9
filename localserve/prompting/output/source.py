"""A template's format, rendered where templates are rendered: in a child process.

Lives on the event loop; comparing is done in a worker.
"""

from __future__ import annotations

import asyncio

from localserve.errors import TemplateFailed
from localserve.prompting.output.derive import derive_format
from localserve.prompting.output.format import OutputFormat
from localserve.prompting.output.probes import probes
from localserve.prompting.sandbox import TemplateProcess


async def read_format(
    templates: TemplateProcess, source: str, *, bos: str = "", eos: str = ""
) -> OutputFormat:
    """The format of the model whose chat template is `source`.

    A template that refuses a probe, or does not end in time, only says less of itself.

    Raises: Overloaded, Unavailable.
    """
    rendered: dict[str, str] = {}
    for name, request in probes(source, bos=bos, eos=eos).items():
        try:
            rendered[name] = await templates.render(request)
        except TemplateFailed:
            continue
    return await asyncio.to_thread(derive_format, source, rendered)
