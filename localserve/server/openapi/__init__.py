"""The description of the API: OpenAPI 3.1 at `/openapi.json`, and a page to read and try it.

`declared.py` what is said of a route, `declarations/` all of them; `bodies.py` the answers as
models, `headers.py` their headers; `document.py` puts it together; `pages.py` serves it.
"""

from localserve.server.openapi.pages import documentation_routes

__all__ = ["documentation_routes"]
