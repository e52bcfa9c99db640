"""A certificate authority of one's own, that AWS IoT knows nothing of."""

from __future__ import annotations

import datetime
import hashlib
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from local.tests.mqtt_device import Identity, write_key

DAY = datetime.timedelta(days=1)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


class Authority:
    """Issues certificates into files of a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())

    def issue(self, *, key: Any = None, begins: datetime.timedelta = -DAY, ends: datetime.timedelta = DAY,
              digest: Any = None) -> tuple[str, Identity]:
        """The certificate as PEM, and the identity it gives once registered. The times count from now."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder().subject_name(_name("light")).issuer_name(_name("own authority"))
            .public_key(key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(now + begins).not_valid_after(now + ends)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .sign(self._key, digest or hashes.SHA256())
        )
        certificate_id = hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).hexdigest()
        pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
        files = [self._folder / f"{certificate_id[:16]}.{kind}" for kind in ("crt", "key")]
        files[0].write_text(pem)
        write_key(key, files[1])
        return pem, Identity(certificate_id, f"arn:aws:iot:us-east-1:000000000000:cert/{certificate_id}", *files)

    def registered(self, cloud: Any, **how: Any) -> Identity:
        """A certificate that is registered and ACTIVE."""
        pem, identity = self.issue(**how)
        made = cloud.client("iot").register_certificate_without_ca(certificatePem=pem, status="ACTIVE")
        assert (made["certificateId"], made["certificateArn"]) == (identity.certificate_id, identity.arn)
        return identity
