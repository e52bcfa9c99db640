"""AWS: a token lets one local proxy in, on its own side; what one says the other hears, within the protocol."""

from __future__ import annotations

import asyncio

import pytest
from ministack.core.responses import request_scope

from local import iot_tunnels, iot_tunnels_proxy
from local.iot_tunnels_proxy import DATA, SERVICE_IDS, SESSION_RESET, STREAM_START, SUBPROTOCOL, frame

MINE, OTHERS = "a" * 32, "b" * 32


@pytest.fixture
def opened():
    with request_scope("000000000000", "us-east-1"):
        iot_tunnels._LAST.clear()
        yield iot_tunnels._open({"destinationConfig": {"thingName": "light", "services": ["SSH"]}})


class Proxy:
    """A local proxy without a network."""

    def __init__(self, token: str, mode: str, *, client_token: str | None = None, protocol: str = SUBPROTOCOL,
                 more: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        headers = [(b"access-token", token.encode()), *more]
        if client_token:
            headers.append((b"client-token", client_token.encode()))
        self.scope = {"type": "websocket", "path": "/tunnel", "headers": headers, "subprotocols": [protocol],
                      "query_string": f"local-proxy-mode={mode}".encode()}
        self.says: asyncio.Queue = asyncio.Queue()
        self.hears: asyncio.Queue = asyncio.Queue()

    async def connect(self) -> bool:
        self.says.put_nowait({"type": "websocket.connect"})
        self.task = asyncio.ensure_future(iot_tunnels_proxy._serve(self.scope, self.says.get, self.hears.put))
        return (await self.heard())["type"] == "websocket.accept"

    async def heard(self) -> dict:
        return await asyncio.wait_for(self.hears.get(), 2)

    async def bytes(self) -> bytes:
        return (await self.heard())["bytes"]

    def say(self, payload: bytes) -> None:
        self.says.put_nowait({"type": "websocket.receive", "bytes": payload})

    async def is_ended(self) -> bool:
        while (await self.heard())["type"] != "websocket.close":
            pass
        await self.task
        return True


def test_a_token_counts_once_unless_its_bearer_comes_again(opened):
    source = opened["sourceAccessToken"]

    async def refusals() -> None:
        for wrong in (
            Proxy("none", "source"), Proxy(source, "destination"), Proxy(source, "source", protocol="mqtt"),
            Proxy(source, "source", client_token="short"), Proxy(source, "source", more=((b"access-token", b"x"),)),
            Proxy(source, "source", more=((b"cookie", b"awsiot-tunnel-token=x"),)),
        ):
            assert not await wrong.connect()
        first = Proxy(source, "source", client_token=MINE)
        assert await first.connect()
        for other in (Proxy(source, "source"), Proxy(source, "source", client_token=OTHERS)):
            assert not await other.connect()
        again = Proxy(source, "source", client_token=MINE)
        assert await again.connect()
        assert await first.is_ended(), "one peer a side"
        destination = Proxy(opened["destinationAccessToken"], "destination")
        assert await destination.connect()
        assert not await Proxy(opened["destinationAccessToken"], "destination").connect()

    asyncio.run(refusals())


def test_rotation_moves_on_and_closing_ends_both(opened):
    async def rotation() -> None:
        which = {"tunnelId": opened["tunnelId"]}
        old = Proxy(opened["sourceAccessToken"], "source", client_token=MINE)
        assert await old.connect()
        rotated = iot_tunnels._rotate({**which, "clientMode": "ALL"})
        assert not await Proxy(opened["sourceAccessToken"], "source", client_token=MINE).connect()
        assert not await Proxy(opened["destinationAccessToken"], "destination").connect()
        ends = Proxy(rotated["sourceAccessToken"], "source"), Proxy(rotated["destinationAccessToken"], "destination")
        assert [await end.connect() for end in ends] == [True, True]
        assert await old.is_ended()
        described = iot_tunnels._describe(which)["tunnel"]
        assert described["sourceConnectionState"]["status"] == "CONNECTED"
        iot_tunnels._close(which)
        assert [await end.is_ended() for end in ends] == [True, True]
        assert described["sourceConnectionState"]["status"] == "DISCONNECTED"
        assert not await Proxy(rotated["sourceAccessToken"], "source").connect()

    asyncio.run(rotation())


def test_what_one_says_the_other_hears(opened):
    async def relay() -> None:
        source = Proxy(opened["sourceAccessToken"], "source", client_token=MINE)
        destination = Proxy(opened["destinationAccessToken"], "destination")
        assert [await source.connect(), await destination.connect()] == [True, True]
        services = frame({1: SERVICE_IDS, 6: ["SSH"]})
        assert [await source.bytes(), await destination.bytes()] == [services, services]
        start, data = frame({1: STREAM_START, 2: 1, 5: "SSH"}), frame({1: DATA, 2: 1, 4: b"hi", 5: "SSH"})
        # However it is cut, whole messages arrive.
        source.say(start + data[:3])
        assert await destination.bytes() == start
        source.say(data[3:])
        assert await destination.bytes() == data
        destination.say(data)
        assert await source.bytes() == data
        again = Proxy(opened["sourceAccessToken"], "source", client_token=MINE)
        assert await again.connect()
        assert await destination.bytes() == frame({1: SESSION_RESET})

    asyncio.run(relay())


@pytest.mark.parametrize("message", [
    {1: STREAM_START, 2: 1, 5: "SSH"}, {1: DATA, 4: b"x"}, {1: SESSION_RESET}, {1: SERVICE_IDS, 6: ["SSH"]},
    {1: DATA, 2: 1, 4: bytes(64_513)}, {1: DATA, 2: 1, 9: b"x"}, {2: 1},
])
def test_what_a_destination_must_not_say_ends_it(opened, message):
    async def violation() -> None:
        destination = Proxy(opened["destinationAccessToken"], "destination")
        assert await destination.connect()
        destination.say(frame(message))
        assert await destination.is_ended()

    asyncio.run(violation())
