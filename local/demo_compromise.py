"""The demo's compromise: a light whose key somebody else has is cut off, while it shines, and comes back with another."""

from __future__ import annotations

import time
from pathlib import Path

from rich.text import Text

from local.demo_cloud import Answer, Aws, Lamp
from local.demo_lights import Lights, until
from local.demo_mqtt import Broker, Connection
from local.demo_report import Report

STOLEN = "turin-centro-03"
REASON = "its cabinet was forced open"


class Compromise:
    """What its steps share with one another, and with the rest of the demo."""

    def __init__(self, report: Report, lamp: Lamp, aws: Aws, broker: Broker, lights: Lights, elsewhere: Path) -> None:
        self.report, self.lamp, self.aws, self.broker = report, lamp, aws, broker
        self.lights, self.elsewhere = lights, elsewhere
        # The certificate that was stolen, and the one that took its place.
        self.stolen = self.enrolled = ""

    def cut_off(self) -> None:
        """Revoked, disconnected, and not let in again; an operator closes the case."""
        report, name = self.report, STOLEN
        with report.step("One is compromised", f'lamp cert compromised {name} --confirmed --reason "{REASON}"'):
            self.stolen = stolen = self.lamp("device", "show", name).document["certificateId"]
            light = self.lights.start(name, "device", "run", "--thing", name)
            report.need(f"{name} connects, and shines", until(lambda: len(light.said("connected")), 1), 1)
            began = time.monotonic()
            case = self.lamp("cert", "compromised", name, "--confirmed", "--reason", REASON).document
            report.need("lamp opens a case", (case.get("verdict"), case.get("thingName")), ("confirmed", name))
            report.check(
                "the light is cut off, comes back, and is refused",
                until(lambda: {each["certificateId"] for each in light.said("refused")}, {stolen}), {stolen},
            )
            seconds = time.monotonic() - began
            report.count("seconds", round(seconds, 3))
            report.say(f"{seconds:.1f} s from the report to the refusal")
            report.check("it did not connect again", len(light.said("connected")), 1)
            light.switch_off()
            report.check("AWS has its certificate REVOKED", self._status(stolen), "REVOKED")
            shown = ("case", "show", case["caseId"])
            secured = until(lambda: "securedAt" in self.lamp(*shown).document, True)
            found = self.lamp(*shown).document.get("found", [])
            report.check(
                "the case says what was looked at, and that nothing of the light can act any more",
                (secured, all(each["clear"] for each in found), len(found) > 0), (True, True, True),
            )
            report.show(Text(self.lamp.table(report.console.width, *shown)))
            report.check("its certificate is renewed no more: exit code 3", self.lamp("device", "renew", name).exit, 3)
            report.check("nor is it enrolled, while the case is open: exit code 3", self._token().exit, 3)
            closed = self.lamp("case", "close", case["caseId"])
            report.check("an operator closes the case: exit code 0", closed.exit, 0)
            with Connection(self.broker, self.lamp.identity(name), name) as thief:
                report.check("and whoever has the key is refused all the same", thief.verdict, "refused")

    def come_back(self) -> None:
        """It gets another key, for which a token is good once."""
        report, name = self.report, STOLEN
        with report.step("It comes back", f"lamp device enrolment-token {name}, and in the light lamp device enrol"):
            issued = self._token()
            report.need("lamp issues a token for it", (issued.exit, "token" in issued.document), (0, True))
            token = self.elsewhere / "token"
            token.write_text(issued.document["token"])
            light = self.lights.start(f"{name}-again", "device", "enrol", "--thing", name, "--token", token)
            report.need(
                "the light enrols, without a signature, with a key of its own",
                until(lambda: len(light.said("enrolled")), 1), 1,
            )
            self.enrolled = light.said("enrolled")[0]["certificateId"]
            report.check(
                "it connects with its new certificate, and proves it",
                until(lambda: [each["certificateId"] for each in light.said("retired")], [self.enrolled]),
                [self.enrolled],
            )
            light.switch_off()
            shown = self.lamp("device", "show", name).document
            report.check("the registry has the new certificate", shown["certificateId"], self.enrolled)
            other = self.elsewhere / "thief"
            again = self.lamp("device", "enrol", "--thing", name, "--token", token, "--keys-dir", other)
            report.check("the token admits no other key: exit code 3", again.exit, 3)
            report.check("AWS has the stolen certificate REVOKED, as before", self._status(self.stolen), "REVOKED")

    def _token(self) -> Answer:
        return self.lamp("device", "enrolment-token", STOLEN, "--reason", "it has another lock, and needs another key")

    def _status(self, certificate: str) -> str:
        described = self.aws.iot.describe_certificate(certificateId=certificate)
        return described["certificateDescription"]["status"]
