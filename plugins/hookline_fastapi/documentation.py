"""Documentation: the OpenAPI document, and the page that shows it."""

from __future__ import annotations

import secrets
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from hookline.jsontext import dumps
from hookline_fastapi.responses import JsonText, security_headers

OPENAPI_PATH = "/openapi.json"

SCRIPTS = "https://cdn.jsdelivr.net/npm/"
"""Where the page's script and style come from."""

ICONS = "https://fastapi.tiangolo.com/img/"


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
        """The page, which may run the script it comes with and the one it names, and nothing else."""
        page = get_swagger_ui_html(
            openapi_url=_root_of(request) + OPENAPI_PATH,
            title=self._app.title,
            swagger_js_url=f"{SCRIPTS}swagger-ui-dist@5/swagger-ui-bundle.js",
            swagger_css_url=f"{SCRIPTS}swagger-ui-dist@5/swagger-ui.css",
            swagger_favicon_url=f"{ICONS}favicon.png",
        )
        nonce = secrets.token_urlsafe(16)
        text = bytes(page.body).decode().replace("<script", f'<script nonce="{nonce}"')
        response = HTMLResponse(text)
        response.raw_headers += security_headers(_policy(nonce))
        return response


def _policy(nonce: str) -> str:
    rules: dict[str, Any] = {
        "default-src": "'none'",
        "script-src": f"'nonce-{nonce}'",
        "style-src": f"{SCRIPTS} 'unsafe-inline'",
        "img-src": f"'self' data: {ICONS}",
        "font-src": "data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return "; ".join(f"{name} {sources}" for name, sources in rules.items())


def _root_of(request: Request) -> str:
    root: str = request.scope.get("root_path", "")
    return root.rstrip("/")
