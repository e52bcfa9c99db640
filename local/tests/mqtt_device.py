"""A device for tests: a certificate, and an MQTT client that connects with it."""

from __future__ import annotations

import json
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

from local.tests.conftest import Cloud, policy_document

PATIENCE_SECONDS = 5.0


@dataclass(frozen=True)
class Identity:
    """A registered certificate and its key."""

    certificate_id: str
    arn: str
    certificate_file: Path
    key_file: Path


def new_identity(cloud: Cloud, folder: Path, *, active: bool = True, common_name: str = "light") -> Identity:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    csr = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    made = cloud.client("iot").create_certificate_from_csr(
        certificateSigningRequest=csr.public_bytes(serialization.Encoding.PEM).decode(), setAsActive=active,
    )
    files = [folder / f"{made['certificateId'][:16]}.{kind}" for kind in ("crt", "key")]
    files[0].write_text(made["certificatePem"])
    write_key(key, files[1])
    return Identity(made["certificateId"], made["certificateArn"], *files)


def write_key(key: ec.EllipticCurvePrivateKey, file: Path) -> None:
    file.write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption(),
    ))


def allow_all(cloud: Cloud, policy_name: str, target: str) -> None:
    """Give the target a policy that allows a device everything."""
    document = policy_document([{"Effect": "Allow", "Action": "iot:*", "Resource": "*"}])
    iot = cloud.client("iot")
    iot.create_policy(policyName=policy_name, policyDocument=document)
    iot.attach_policy(policyName=policy_name, target=target)


class Device:
    """One connection; `connect` says whether the broker accepted it."""

    def __init__(self, cloud: Cloud, client_id: str, identity: Identity | None, host: str | None = None) -> None:
        self.client_id = client_id
        self._host = host or cloud.mqtt_host
        self.identity = identity
        self._cloud = cloud
        self._answered = threading.Event()
        self._accepted = False
        self.disconnected = threading.Event()
        self.messages: queue.Queue[tuple[str, Any]] = queue.Queue()
        self._codes: queue.Queue[int] = queue.Queue()
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id, protocol=MQTTProtocolVersion.MQTTv5, reconnect_on_failure=False,
        )
        context = ssl.create_default_context(cafile=str(cloud.mqtt_ca))
        if identity is not None:
            context.load_cert_chain(identity.certificate_file, identity.key_file)
        self._client.tls_set_context(context)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = self._on_message
        self._client.on_subscribe = lambda _c, _u, _m, codes, _p: self._codes.put(codes[0].value)
        self._client.on_publish = lambda _c, _u, _m, code, _p: self._codes.put(code.value)

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def connect(self) -> bool:
        try:
            self._client.connect(self._host, self._cloud.mqtt_port, keepalive=30)
        except (ssl.SSLError, OSError):
            return False
        self._client.loop_start()
        assert self._answered.wait(PATIENCE_SECONDS), "neither accepted nor refused"
        return self._accepted

    def will(self, topic: str, text: str) -> None:
        self._client.will_set(topic, text)

    def subscribe(self, topic_filter: str) -> bool:
        self._client.subscribe(topic_filter, qos=1)
        return self._codes.get(timeout=PATIENCE_SECONDS) < 0x80

    def publish(self, topic: str, payload: Any, *, retain: bool = False) -> bool:
        text = payload if isinstance(payload, str) else json.dumps(payload)
        self._client.publish(topic, text, qos=1, retain=retain)
        return self._codes.get(timeout=PATIENCE_SECONDS) < 0x80

    def receive(self) -> tuple[str, Any]:
        """The next message, as JSON where it is JSON."""
        return self.messages.get(timeout=PATIENCE_SECONDS)

    def hears_nothing(self, seconds: float = 0.5) -> bool:
        try:
            self.messages.get(timeout=seconds)
        except queue.Empty:
            return True
        return False

    def _on_connect(self, _client: object, _data: object, _flags: object, code: Any, _properties: object) -> None:
        self._accepted = not code.is_failure
        self._answered.set()

    def _on_disconnect(self, *_: object) -> None:
        self.disconnected.set()
        self._answered.set()

    def _on_message(self, _client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        try:
            payload = json.loads(message.payload)
        except ValueError:
            payload = message.payload.decode()
        self.messages.put((message.topic, payload))
