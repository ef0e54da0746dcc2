"""Documentation: the OpenAPI document, and the page that shows it."""

from __future__ import annotations

import secrets
from html import escape
from string import Template
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from hookline.jsontext import dumps
from hookline_fastapi.listing_page import listing_of
from hookline_fastapi.responses import JsonText, security_headers

OPENAPI_PATH = "/openapi.json"
PAGE_PATH = "/docs"
PAGES = (OPENAPI_PATH, PAGE_PATH)

SCRIPTS = "https://cdn.jsdelivr.net/npm/"
"""Where the page's script and style come from."""

PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<link rel="icon" href="data:,">
<style>body { font-family: sans-serif; margin: 1em } dt { float: left; margin-right: 1em }</style>
</head>
<body>
<div id="swagger-ui">
$listing
</div>
<link rel="stylesheet" href="${scripts}swagger-ui-dist@5/swagger-ui.css">
<script nonce="$nonce" src="${scripts}swagger-ui-dist@5/swagger-ui-bundle.js"></script>
<script nonce="$nonce">
if (window.SwaggerUIBundle)
  SwaggerUIBundle({url: $url, dom_id: "#swagger-ui", deepLinking: true, showExtensions: true})
</script>
</body>
</html>
""")


class Documentation:
    """Endpoints of an app that tell how it is used."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    async def get_document(self, request: Request) -> Response:
        """The OpenAPI document, with the path that the app is mounted at."""
        root = _root_of(request)
        servers = {"servers": [{"url": root}]} if root else {}
        return JsonText(dumps({**self._app.openapi(), **servers}))

    async def get_page(self, request: Request) -> Response:
        """The page, which may run the script it comes with and the one it names, and nothing else.

        That script shows the document in the place of the listing, which stays where there is no way to it.
        """
        nonce = secrets.token_urlsafe(16)
        page = PAGE.substitute(
            title=escape(self._app.title),
            listing=listing_of(self._app.openapi()),
            scripts=SCRIPTS,
            nonce=nonce,
            url=_script_text(_root_of(request) + OPENAPI_PATH),
        )
        response = HTMLResponse(page)
        response.raw_headers += security_headers(_policy(nonce))
        return response


def _policy(nonce: str) -> str:
    rules: dict[str, Any] = {
        "default-src": "'none'",
        "script-src": f"'nonce-{nonce}'",
        "style-src": f"{SCRIPTS} 'unsafe-inline'",
        "img-src": "'self' data:",
        "font-src": "data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return "; ".join(f"{name} {sources}" for name, sources in rules.items())


def _script_text(text: str) -> str:
    """A text as it stands in a script, which it cannot end."""
    return dumps(text).replace("<", "\\u003c")


def _root_of(request: Request) -> str:
    root: str = request.scope.get("root_path", "")
    return root.rstrip("/")
