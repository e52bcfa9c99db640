"""The demo's renewals: lights that rotate while they shine, and one that does not prove.

The lights are the reference device's, many of them in one process of `lamp
fleet run`; what they say of themselves is held against the registry and AWS.
"""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import Any

from cryptography import x509

from local import demo_picture as picture
from local.demo_cloud import Aws, Lamp
from local.demo_lights import PACE_SECONDS, PATIENCE_SECONDS, Light, Lights, until
from local.demo_mqtt import Broker, Connection
from local.demo_report import Report

# What the demo's cloud is deployed with: AWS's own lifetimes would outlast it.
PARAMETERS = {"CertificateLifetime": "1m", "ProofWindowSeconds": "8", "RetirementGraceSeconds": "2"}
LIFETIME_SECONDS = 60
# A certificate is due at two thirds of its lifetime, or a little before.
DUE_SECONDS = LIFETIME_SECONDS * 2 / 3

DISTRICT = "genoa-castelletto"
SHORT_LIVED = [
    {
        "thingName": f"{DISTRICT}-{number:02}", "thingType": "streetlight", "groups": DISTRICT,
        "billingGroup": "billing-genoa", "custody": "device", "issuer": "kms-ca",
        "attributes.city": "genoa", "attributes.wattage": "40", "attributes.firmware_version": "2.1.0",
    }
    for number in range(4, 12)
]
UNWILLING = "milan-brera-02"

# A light may be silent this long.
LONGEST_GAP_SECONDS = 5.0


class Renewal:
    """What its steps share with one another, and with the rest of the demo."""

    def __init__(self, report: Report, lamp: Lamp, aws: Aws, broker: Broker, lights: Lights, elsewhere: Path) -> None:
        self.report, self.lamp, self.aws, self.broker = report, lamp, aws, broker
        self.lights, self.elsewhere = lights, elsewhere
        self.names = [row["thingName"] for row in SHORT_LIVED]
        self.created: dict[str, dict[str, Any]] = {}
        self._due_at = 0.0
        self._authority: x509.Certificate
        self._fleet: Light

    def make(self) -> None:
        """An authority, short-lived lights of it, and they begin to shine."""
        report, count = self.report, len(SHORT_LIVED)
        with report.step(
            "An authority of our own", f"lamp ca init, and {count} lights whose certificates live a minute",
        ):
            made = self.lamp("ca", "init", "--subject", "Lamplighter demo")
            report.need("lamp makes the authority: exit code 0", (made.exit, made.document.get("created")), (0, True))
            self._authority = x509.load_pem_x509_certificate(made.document["certificatePem"].encode())
            again = self.lamp("ca", "init").document
            report.check(
                "asked again, it is the same one",
                (again["created"], again["authorityId"]), (False, made.document["authorityId"]),
            )
            answer = self.lamp("device", "create", "--from", self._file(), bars=True)
            self._due_at = time.monotonic() + DUE_SECONDS
            self.created = {each.get("thingName", ""): each for each in answer.documents}
            report.need(
                f"{count} lights were created with it", (answer.exit, list(self.created)), (0, self.names),
            )
            report.check(
                "every certificate is signed by the authority, and ends within a minute",
                {name: self._signed(each["certificatePem"]) for name, each in self.created.items()},
                dict.fromkeys(self.names, True),
            )
            self._fleet = self.lights.start("fleet", "fleet", "run", "--from", self._file())
            report.check(
                "all of them connect, by mutual TLS",
                until(lambda: len(self._fleet.said("connected")), count), count,
            )
            report.say(f"they publish every {PACE_SECONDS} s, from here until all have been renewed")

    def refuse(self) -> None:
        """A light that uses its new certificate, never proves it, and loses power."""
        report, name = self.report, UNWILLING
        with report.step("One does not prove", f"lamp device renew {name}, a light that keeps its proof to itself"):
            old = self.lamp("device", "show", name).document["certificateId"]
            light = self.lights.start(name, "device", "run", "--thing", name, "--misbehave", "refuse-proof")
            report.need(f"{name} connects", until(lambda: len(light.said("connected")), 1), 1)
            asked = self.lamp("device", "renew", name)
            report.need(
                "lamp asks for its renewal: exit code 4, it is under way",
                (asked.exit, asked.document.get("status")), (4, "RUNNING"),
            )
            operation = asked.document["operationId"]
            report.need(
                "it connects with the new certificate",
                until(lambda: len(light.said("promoted")), 1), 1,
            )
            new = light.said("promoted")[0]["certificateId"]
            report.check(
                "both certificates are in force until it proves the new one",
                sorted(each["certificateId"] for each in self.aws.principals(name)), sorted([old, new]),
            )
            rotation = self.lamp("operation", "show", operation).document.get("rotation", {})
            report.check(
                "the operation tells how far it is",
                [rotation.get(field) for field in ("phase", "oldCertificateId", "newCertificateId")],
                ["ISSUED", old, new],
            )
            light.switch_off()
            report.say(f"it loses power; its proof is awaited for {PARAMETERS['ProofWindowSeconds']} s")
            ended = self.lamp("operation", "show", operation, "--wait", "--timeout", PATIENCE_SECONDS)
            phase = ended.document.get("rotation", {}).get("phase")
            report.check(
                "the renewal is rolled back: exit code 1", (ended.exit, ended.document["status"], phase),
                (1, "FAILED", "ROLLED_BACK"),
            )
            report.say(ended.document.get("failure", {}).get("reason", ""))
            report.check(
                "the light has its old certificate, and no other",
                [each["certificateId"] for each in self.aws.principals(name)], [old],
            )
            report.check(
                "AWS has the new one no more",
                self.aws.error("describe_certificate", certificateId=new), "ResourceNotFoundException",
            )
            back = self.lights.start(f"{name}-again", "device", "run", "--thing", name)
            report.check(
                "the power is back: refused with the new, it goes back to the old and connects",
                until(lambda: [each["certificateId"] for each in back.said("connected")], [old]), [old],
            )
            report.check("it was refused with the new one", [e["certificateId"] for e in back.said("refused")], [new])
            back.switch_off()

    def sweep(self) -> None:
        """What is due is renewed, while it goes on publishing."""
        report, count = self.report, len(self.names)
        with report.step("A sweep", "lamp sweep start: what is due is renewed, by lights that go on publishing"):
            wait = max(0.0, self._due_at - time.monotonic())
            report.say(f"they are due in {wait:.0f} s")
            time.sleep(wait)
            due = self.lamp("cert", "due")
            now = time.time() * 1000
            report.check(
                f"the {count} are due, and nothing else",
                sorted(each["thingName"] for each in due.documents if each["dueAt"] <= now), self.names,
            )
            began = time.monotonic()
            started = self.lamp("sweep", "start")
            report.need(
                "lamp starts the sweep", (started.exit, started.document.get("due")), (4, count),
            )
            sweep = started.document["sweepId"]
            renewed = until(lambda: self.lamp("sweep", "show", sweep).document["renewed"], count)
            seconds = time.monotonic() - began
            ended = self.lamp("sweep", "show", sweep).document
            report.need(
                f"it has renewed all {count}, and none failed", (renewed, ended["failed"]), (count, 0),
            )
            report.say(f"{seconds:.1f} s, of which {PARAMETERS['RetirementGraceSeconds']} are grace for the old ones")
            report.check("the fleet's process ends well", self._fleet.switch_off(), 0)
            self._look_at_renewed(seconds)

    def _look_at_renewed(self, seconds: float) -> None:
        report = self.report
        before = {name: each["certificateId"] for name, each in self.created.items()}
        records = {name: self.lamp("device", "show", name).document for name in self.names}
        after = {name: record["certificateId"] for name, record in records.items()}
        pems = {name: record["certificates"][0]["certificatePem"] for name, record in records.items()}
        report.check(
            "each has a new certificate of the authority, and no other",
            {name: ([each["certificateId"] for each in self.aws.principals(name)], self._signed(pems[name]))
             for name in self.names},
            {name: ([after[name]], True) for name in self.names},
        )
        report.check("none is the one from before", sorted(set(before.values()) & set(after.values())), [])
        report.check("AWS has none of the old ones", sorted(self.aws.certificates() & set(before.values())), [])
        with Connection(self.broker, self.lamp.identity(self.names[0]), self.names[0]) as light:
            report.check(f"with its old certificate {self.names[0]} is refused", light.verdict, "refused")
        stopped = {each["thingName"]: each for each in self._fleet.said("stopped")}
        gaps = {name: each["longestGapMillis"] / 1000 for name, each in stopped.items()}
        report.check(
            "each made one rotation, by its own account", {name: each["rotated"] for name, each in stopped.items()},
            dict.fromkeys(self.names, 1),
        )
        report.check(
            f"none was silent for more than {LONGEST_GAP_SECONDS:.0f} s",
            {name: gap for name, gap in gaps.items() if gap > LONGEST_GAP_SECONDS}, {},
        )
        report.say(f"the longest silence of any: {max(gaps.values()):.1f} s, one message every {PACE_SECONDS} s")
        rotations = [
            {
                "thingName": name, "from": before[name], "to": after[name], "seconds": self._took(name),
                "messages": stopped[name]["acknowledged"], "longestGapSeconds": gaps[name],
            }
            for name in self.names
        ]
        report.count("seconds", round(seconds, 3))
        report.count("longestGapSeconds", max(gaps.values()))
        report.count("rotations", rotations)
        report.show(picture.renewed(rotations))
        for name, each in self.created.items():
            each["certificateId"] = after[name]

    def _took(self, name: str) -> float:
        """From being asked to being told that the old certificate is retired, as the light saw it."""
        asked, retired = (
            next(each["at"] for each in self._fleet.said(event) if each["thingName"] == name)
            for event in ("renew", "retired")
        )
        return (retired - asked) / 1000

    def _signed(self, pem: str) -> bool:
        certificate = x509.load_pem_x509_certificate(pem.encode())
        certificate.verify_directly_issued_by(self._authority)
        left = certificate.not_valid_after_utc.timestamp() - time.time()
        return left <= LIFETIME_SECONDS

    def _file(self) -> Path:
        path = self.elsewhere / "short-lived.csv"
        if not path.exists():
            with path.open("w", newline="") as file:
                writer = csv.DictWriter(file, SHORT_LIVED[0])
                writer.writeheader()
                writer.writerows(SHORT_LIVED)
        return path
