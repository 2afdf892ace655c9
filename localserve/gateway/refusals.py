"""The errors of requests that come from where they should not, or as they should not.

InvalidRequest
├── HostRefused            403
├── CrossSite              403
└── MediaTypeUnsupported   415
"""

from __future__ import annotations

from typing import ClassVar

from localserve.errors import InvalidRequest


class HostRefused(InvalidRequest):
    """The request was meant for a host that this server is not."""

    code: ClassVar[str] = "host_refused"
    description: ClassVar[str] = (
        "The header Host names no address of this machine: a page could have made its own name "
        "point here (DNS rebinding). Set LOCALSERVE_ALLOWED_HOSTS for names that are yours."
    )


class CrossSite(InvalidRequest):
    """A browser asked on behalf of another site's page."""

    code: ClassVar[str] = "cross_site"
    description: ClassVar[str] = (
        "Pages of other sites may not use this server; the browser said that the request came "
        "from one. Set LOCALSERVE_ALLOWED_ORIGINS for sites that may."
    )


class MediaTypeUnsupported(InvalidRequest):
    """The body is not JSON."""

    code: ClassVar[str] = "media_type_unsupported"
    description: ClassVar[str] = (
        "Bodies are JSON here; forms are not accepted, and browsers and routes that change the "
        "server have to say application/json."
    )
