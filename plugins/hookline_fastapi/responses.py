"""Responses: JSON text, problems and pages, each with what a browser has to be told about them."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import Response

CLOSED_POLICY = "default-src 'none'; frame-ancestors 'none'"
"""The content security policy of what is no page: a browser that shows it all the same runs and loads nothing."""


def security_headers(policy: str = CLOSED_POLICY) -> list[tuple[bytes, bytes]]:
    """The headers that every response has: no guessing of types, no frames, no referrer, no copy in a cache.

    Args:
        policy: the content security policy.
    """
    return [
        (b"x-content-type-options", b"nosniff"),
        (b"content-security-policy", policy.encode()),
        (b"referrer-policy", b"no-referrer"),
        (b"cache-control", b"no-store"),
    ]


SECURITY_HEADERS = security_headers()


class TextResponse(Response):
    """A response whose content is text already, with the headers that every response has."""

    def init_headers(self, headers: Mapping[str, str] | None = None) -> None:
        """Write the headers: those of the response, the given ones, and those that every response has."""
        self.raw_headers = [
            (b"content-length", b"%d" % len(self.body)),
            (b"content-type", (self.media_type or "text/plain").encode()),
            *SECURITY_HEADERS,
        ]
        if headers:
            given = ((name.lower().encode("latin-1"), text.encode("latin-1")) for name, text in headers.items())
            self.raw_headers.extend(given)


class JsonText(TextResponse):
    """A response whose content is JSON text already."""

    media_type = "application/json"


class ProblemText(TextResponse):
    """A response whose content is the JSON text of a problem."""

    media_type = "application/problem+json"
