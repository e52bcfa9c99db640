"""The MQTT listener is reachable where the HTTP API is.

Not a rule of AWS but of a good neighbour: the emulator binds its MQTT listener
to every interface whatever BIND_HOST says, and a laptop should not offer its
broker to a café.
"""

from __future__ import annotations

import asyncio
import os

from ministack.services import iot


def install() -> None:
    async def start() -> None:
        if iot._mtls_server is None:
            loop = asyncio.get_running_loop()
            host = os.environ.get("BIND_HOST", "127.0.0.1")
            iot._mtls_server = await loop.create_server(iot._MtlsAcceptor, host=host, port=iot._mtls_port())
            iot._mtls_loop = loop

    iot._mtls_start_locked = start
