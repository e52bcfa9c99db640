"""The broker listens on the address of the HTTP API and on no other."""

from __future__ import annotations

import socket

import pytest


def test_only_the_loopback_address_is_served(cloud):
    socket.create_connection(("127.0.0.1", cloud.mqtt_port), timeout=2).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", cloud.mqtt_port), timeout=2)
