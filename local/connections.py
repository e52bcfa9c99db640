"""Break off the connection of a request in service."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

from hypercorn.asyncio.tcp_server import TCPServer

_writers: dict[tuple[str, int], asyncio.StreamWriter] = {}


def reset(client: tuple[str, int]) -> None:
    """Send the peer a reset instead of what it waits for."""
    writer = _writers.get(tuple(client))
    if writer is None:
        return
    raw = writer.get_extra_info("socket")
    # Lingering for no time makes closing a reset, which no client takes for an answer.
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _run(self: Any) -> None:
    peer = self.writer.get_extra_info("peername")
    client = (peer[0], peer[1]) if peer else None
    if client is not None:
        _writers[client] = self.writer
    try:
        await _server_run(self)
    finally:
        _writers.pop(client, None)


def install() -> None:
    """Remember the connection of every client."""
    TCPServer.run = _run


_server_run = TCPServer.run
