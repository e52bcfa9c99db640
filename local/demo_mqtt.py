"""Connecting as a device, over MQTT with mutual TLS, and being refused."""

from __future__ import annotations

import datetime
import queue
import ssl
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

PATIENCE_SECONDS = 10.0


@dataclass(frozen=True)
class Broker:
    """Where devices connect, and by which CA they know it."""

    host: str
    port: int
    ca: Path


@dataclass(frozen=True)
class Identity:
    """A certificate and its private key, as files."""

    certificate: Path
    key: Path


class Connection:
    """One attempt to connect; `refusal` is None when it was accepted."""

    def __init__(self, broker: Broker, identity: Identity, client_id: str) -> None:
        self.refusal: str | None = None
        self._answered = threading.Event()
        self._received: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self._granted: queue.Queue[bool] = queue.Queue()
        self._published: queue.Queue[bool] = queue.Queue()
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id, protocol=MQTTProtocolVersion.MQTTv5, reconnect_on_failure=False,
        )
        context = ssl.create_default_context(cafile=str(broker.ca))
        context.load_cert_chain(identity.certificate, identity.key)
        self._client.tls_set_context(context)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = lambda _c, _u, message: self._received.put((message.topic, bytes(message.payload)))
        self._client.on_subscribe = lambda _c, _u, _m, codes, _p: self._granted.put(codes[0].value < 0x80)
        self._client.on_publish = lambda _c, _u, _m, code, _p: self._published.put(code.value < 0x80)
        try:
            self._client.connect(broker.host, broker.port, keepalive=30)
        except OSError as error:
            # A refused TLS handshake is an OSError too.
            self.refusal = f"{type(error).__name__}: {error}"
            return
        self._client.loop_start()
        if not self._answered.wait(PATIENCE_SECONDS):
            self.refusal = f"no answer within {PATIENCE_SECONDS:.0f} s"

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    @property
    def verdict(self) -> str:
        return "refused" if self.refusal else "accepted"

    def echo(self, topic: str, payload: bytes) -> bytes | None:
        """Publish to a topic that is subscribed to; what comes back, if anything does."""
        answer = self.ask(topic, payload, [topic])
        return answer and answer[1]

    def ask(self, topic: str, payload: bytes, answers: list[str]) -> tuple[str, bytes] | None:
        """Publish, and wait for a message on one of the topics where the answer may come."""
        if not all(self.subscribe(each) for each in answers):
            return None
        self.publish(topic, payload)
        return self.hear()

    def subscribe(self, topic_filter: str) -> bool:
        """Whether the broker granted it."""
        self._client.subscribe(topic_filter, qos=1)
        return _next(self._granted, PATIENCE_SECONDS) is True

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        """Whether the broker took it."""
        self._client.publish(topic, payload, qos=1, retain=retain)
        return _next(self._published, PATIENCE_SECONDS) is True

    def hear(self, seconds: float = PATIENCE_SECONDS) -> tuple[str, bytes] | None:
        """The next message, if one comes."""
        return _next(self._received, seconds)

    def retain(self, topic: str, payload: bytes) -> None:
        """Leave a retained message."""
        self.publish(topic, payload, retain=True)

    def _on_connect(self, _client: object, _data: object, _flags: object, code: Any, _properties: object) -> None:
        if code.is_failure:
            self.refusal = str(code)
        self._answered.set()

    def _on_disconnect(self, _client: object, _data: object, _flags: object, code: Any, _properties: object) -> None:
        if not self._answered.is_set():
            self.refusal = f"disconnected: {code}"
            self._answered.set()
        # What is waited for does not come any more.
        self._granted.put(False)
        self._published.put(False)


def _next(answers: queue.Queue[Any], seconds: float) -> Any:
    try:
        return answers.get(timeout=seconds)
    except queue.Empty:
        return None


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def signing_request(key: ec.EllipticCurvePrivateKey, name: str) -> str:
    builder = x509.CertificateSigningRequestBuilder().subject_name(_subject(name))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def self_signed(key: ec.EllipticCurvePrivateKey, name: str) -> str:
    """A certificate that says what a device's says, and that nobody but itself vouches for."""
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_subject(name))
        .issuer_name(_subject(name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def keep(directory: Path, name: str, key: ec.EllipticCurvePrivateKey, certificate: str) -> Identity:
    """Write both where a TLS client reads them; the key for its owner only."""
    identity = Identity(directory / f"{name}.cert.pem", directory / f"{name}.key.pem")
    identity.certificate.write_text(certificate)
    identity.key.touch(mode=0o600)
    identity.key.write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption(),
    ))
    return identity


def belong_together(identity: Identity) -> bool:
    """Whether the certificate certifies that key."""
    certificate = x509.load_pem_x509_certificate(identity.certificate.read_bytes())
    key = serialization.load_pem_private_key(identity.key.read_bytes(), password=None)
    return certificate.public_key() == key.public_key()


def certificate_id(pem: str) -> str:
    """AWS IoT's id of a certificate: the SHA-256 of its DER."""
    return x509.load_pem_x509_certificate(pem.encode()).fingerprint(hashes.SHA256()).hex()


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
