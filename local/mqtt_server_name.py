"""A certificate that was registered without its CA needs the server's name.

AWS IoT API Reference, "CertificateDescription", `certificateMode`: a device
whose certificate is SNI_ONLY must send the Server Name Indication (RFC 6066);
without it the connection is refused. A client that dials an address sends none.
The emulator serves it either way.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging

from ministack.services import iot

_logger = logging.getLogger("mqtt_server_name")


def install() -> None:
    inner = iot._mtls_handle_conn

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        secured = writer.get_extra_info("ssl_object")
        presented = secured.getpeercert(binary_form=True) if secured is not None else None
        if presented and _needs_name(presented) and not iot._mtls_server_names.get(secured):
            _logger.warning("a client whose certificate is SNI_ONLY sent no server name")
            await iot._mtls_close(writer)
            return
        await inner(reader, writer)

    iot._mtls_handle_conn = handle


def _needs_name(presented: bytes) -> bool:
    registrations = iot._mtls_active_registrations(hashlib.sha256(presented).hexdigest())
    return any(record.get("certificateMode") == "SNI_ONLY" for _, _, record in registrations)
