"""A request to the local cloud counts as sent over TLS.

AWS rule restored: "AWS global condition context keys", `aws:SecureTransport`:
every endpoint of AWS is reached over TLS, so a bucket policy that refuses
anything else lets ordinary requests pass. The local cloud listens on plain
HTTP on the loopback interface only. A request with `X-Forwarded-Proto: http`
counts as sent without TLS.
"""

from __future__ import annotations

from ministack import app

FORWARDED = b"x-forwarded-proto"


def install() -> None:
    """Say of each request that says nothing itself that it came over TLS."""
    inner = app.app

    async def with_transport(scope, receive, send):  # type: ignore[no-untyped-def]
        if scope["type"] == "http" and not any(name.lower() == FORWARDED for name, _ in scope["headers"]):
            scope = {**scope, "headers": [*scope["headers"], (FORWARDED, b"https")]}
        await inner(scope, receive, send)

    app.app = with_transport
