"""The proxy server of secure tunnelling: two local proxies, and what goes between them.

aws-iot-securetunneling-localproxy, "V2WebSocketProtocolGuide": a WebSocket at
`/tunnel?local-proxy-mode=source|destination` with the header `access-token` (or
the cookie `awsiot-tunnel-token`, not both) and the subprotocol
`aws.iot.securetunneling-2.0`. A token counts for its own side and once; with a
`client-token` (`[a-zA-Z0-9-]{32,128}`) it counts again for whoever sent that
one first. First of all the server sends SERVICE_IDS. A destination starts no
stream, nobody but the server sends SESSION_RESET and SERVICE_IDS, a stream's id
is not 0, a payload holds at most 64,512 bytes, a frame 131,076. A peer that
comes anew takes the place of the one before, and the other end's streams are
reset. CloseTunnel, RotateTunnelAccessToken's "revokes the current client access
token" and a lifetime's end are the API's side, in `local.iot_tunnels`.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qs

from ministack import app

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

PATH = "/tunnel"
SUBPROTOCOL = "aws.iot.securetunneling-2.0"
MOST_FRAME = 131_076
MOST_PAYLOAD = 64_512
DATA, STREAM_START, STREAM_RESET, SESSION_RESET, SERVICE_IDS = 1, 2, 3, 4, 5

_CLIENT_TOKEN = re.compile(r"[a-zA-Z0-9-]{32,128}")
_OTHER = {"source": "destination", "destination": "source"}


class Violation(Exception):
    """What a local proxy must not send; its connection ends."""


@dataclass
class Access:
    """A token: what it opens, and whether somebody has used it."""

    tunnel: dict[str, Any]
    side: str
    used: bool = False
    client_token: str | None = None


@dataclass
class Peer:
    """A local proxy that is connected."""

    send: Send
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def say(self, payload: bytes) -> None:
        """Send bytes; one that has gone hears nothing."""
        if not self.ended.is_set():
            try:
                await self.send({"type": "websocket.send", "bytes": payload})
            except Exception:
                self.ended.set()


# By token, and by (tunnel's id, side).
_accesses: dict[str, Access] = {}
_peers: dict[tuple[str, str], Peer] = {}


def install() -> None:
    inner = app.app

    async def with_tunnels(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" and scope["path"] == PATH:
            await _serve(scope, receive, send)
        else:
            await inner(scope, receive, send)

    app.app = with_tunnels


def admit(tunnel: dict[str, Any], side: str, token: str) -> None:
    """Let this token in, and no earlier one of the side."""
    for old in [each for each, access in _accesses.items() if (access.tunnel, access.side) == (tunnel, side)]:
        del _accesses[old]
    _accesses[token] = Access(tunnel, side)


def close(tunnel: dict[str, Any]) -> None:
    """Let nobody in any more, and end who is."""
    for token in [each for each, access in _accesses.items() if access.tunnel is tunnel]:
        del _accesses[token]
    for side in _OTHER:
        peer = _peers.get((tunnel["tunnelId"], side))
        if peer:
            peer.ended.set()


def _is_open(tunnel: dict[str, Any]) -> bool:
    ends = tunnel["createdAt"] + tunnel["timeoutConfig"]["maxLifetimeTimeoutMinutes"] * 60
    return tunnel["status"] == "OPEN" and time.time() < ends


def _access(scope: Scope) -> Access | None:
    """The access that a handshake has, which is used by it."""
    headers: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    cookies = SimpleCookie("; ".join(headers.get("cookie", [])))
    tokens = headers.get("access-token", []) + [
        each.value for name, each in cookies.items() if name == "awsiot-tunnel-token"]
    client_tokens = headers.get("client-token", [])
    mode = parse_qs(scope["query_string"].decode("latin-1")).get("local-proxy-mode", [])
    if len(tokens) != 1 or len(client_tokens) > 1 or SUBPROTOCOL not in (scope.get("subprotocols") or []):
        return None
    access = _accesses.get(tokens[0])
    client_token = client_tokens[0] if client_tokens else None
    if access is None or [access.side] != mode or not _is_open(access.tunnel):
        return None
    if client_token is not None and not _CLIENT_TOKEN.fullmatch(client_token):
        return None
    if access.used and (client_token is None or client_token != access.client_token):
        return None
    access.used, access.client_token = True, client_token
    return access


async def _serve(scope: Scope, receive: Receive, send: Send) -> None:
    if (await receive())["type"] != "websocket.connect":
        return
    access = _access(scope)
    if access is None:
        await send({"type": "websocket.http.response.start", "status": 400, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b""})
        return
    await send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL})
    tunnel, side, peer = access.tunnel, access.side, Peer(send)
    key = (tunnel["tunnelId"], side)
    before = _peers.get(key)
    if before:
        before.ended.set()
        await _tell_other(key, SESSION_RESET)
    _peers[key] = peer
    _state(tunnel, side, "CONNECTED")
    services = (tunnel.get("destinationConfig") or {}).get("services") or []
    await peer.say(frame({1: SERVICE_IDS, 6: services}))
    ends = tunnel["createdAt"] + tunnel["timeoutConfig"]["maxLifetimeTimeoutMinutes"] * 60
    relaying = asyncio.ensure_future(_relay(receive, key, peer))
    ending = asyncio.ensure_future(peer.ended.wait())
    await asyncio.wait({relaying, ending}, timeout=max(ends - time.time(), 0), return_when=asyncio.FIRST_COMPLETED)
    relaying.cancel()
    ending.cancel()
    peer.ended.set()
    if _peers.get(key) is peer:
        del _peers[key]
        _state(tunnel, side, "DISCONNECTED")
        await _tell_other(key, SESSION_RESET)
    try:
        await send({"type": "websocket.close", "code": 1000})
    except Exception:
        return


def _state(tunnel: dict[str, Any], side: str, status: str) -> None:
    tunnel[f"{side}ConnectionState"] = {"status": status, "lastUpdatedAt": time.time()}


async def _tell_other(key: tuple[str, str], kind: int) -> None:
    other = _peers.get((key[0], _OTHER[key[1]]))
    if other:
        await other.say(frame({1: kind}))


async def _relay(receive: Receive, key: tuple[str, str], peer: Peer) -> None:
    """Pass on what one side says, as slowly as the other side takes it."""
    waiting = b""
    while (event := await receive())["type"] == "websocket.receive":
        payload = event.get("bytes")
        if payload is None or len(payload) > MOST_FRAME:
            return
        waiting += payload
        try:
            frames, waiting = _whole(waiting, key[1])
        except Violation:
            return
        other = _peers.get((key[0], _OTHER[key[1]]))
        if other and frames:
            await other.say(frames)


def _whole(waiting: bytes, side: str) -> tuple[bytes, bytes]:
    """The frames that are whole, checked, and the rest."""
    at = 0
    while len(waiting) >= at + 2:
        length = int.from_bytes(waiting[at:at + 2], "big")
        if len(waiting) < at + 2 + length:
            break
        _check(waiting[at + 2:at + 2 + length], side)
        at += 2 + length
    return waiting[:at], waiting[at:]


def _check(message: bytes, side: str) -> None:
    fields: dict[int, Any] = {}
    for number, value in _fields(message):
        if number not in range(1, 7):
            raise Violation("the schema has no such field")
        fields[number] = value
    kind = fields.get(1, 0)
    allowed = (DATA, STREAM_RESET) if side == "destination" else (DATA, STREAM_START, STREAM_RESET)
    if kind not in allowed or not fields.get(2) or len(fields.get(4, b"")) > MOST_PAYLOAD:
        raise Violation("a local proxy sends no such message")


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of a Protocol Buffers message ("Encoding", Protocol Buffers Documentation)."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        value, at = _varint(message, at)
        if tag & 7 == 2:
            if at + value > len(message):
                raise Violation("a field is cut off")
            yield tag >> 3, message[at:at + value]
            at += value
        elif tag & 7 == 0:
            yield tag >> 3, value
        else:
            raise Violation("the schema has no such type")


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message):
        value |= (message[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if message[at - 1] < 0x80:
            return value, at
    raise Violation("a number is cut off")


def frame(fields: dict[int, Any]) -> bytes:
    """A message with its length before it."""
    message = b""
    for number, value in fields.items():
        if isinstance(value, int):
            message += _put(number << 3) + _put(value)
        else:
            for each in value if isinstance(value, list) else [value]:
                content = each.encode() if isinstance(each, str) else each
                message += _put(number << 3 | 2) + _put(len(content)) + content
    return len(message).to_bytes(2, "big") + message


def _put(value: int) -> bytes:
    out = b""
    while value >= 0x80:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])
