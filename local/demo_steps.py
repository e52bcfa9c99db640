"""The demo's steps, in the order they are told."""

from __future__ import annotations

import json
import stat
import time
from collections import Counter
from pathlib import Path
from typing import Any

import yaml
from rich.text import Text

from local import demo_picture as picture
from local.demo_cloud import EXAMPLE, Aws, Lamp, fleet
from local.demo_compromise import STOLEN, Compromise
from local.demo_groups import Groups
from local.demo_lights import Lights
from local.demo_mqtt import (
    Broker,
    Connection,
    belong_together,
    certificate_id,
    keep,
    new_key,
    self_signed,
    signing_request,
)
from local.demo_renewal import SHORT_LIVED, Renewal
from local.demo_report import Report
from local.demo_tunnel import Tunnel

# The one that is looked at closely, one whose key is in the vault, and a name
# for the demonstration of what attachment means.
SHOWN = "milan-navigli-01"
IN_VAULT = "turin-centro-02"
UNATTACHED = "milan-navigli-demo"

# What lamp calls an entry of each section of the catalog.
KINDS = {
    "thingTypes": "thing type",
    "policies": "policy",
    "groups": "group",
    "billingGroups": "billing group",
    "profiles": "profile",
    "dynamicGroups": "dynamic group",
    "jobTemplates": "job template",
}


class Demo:
    """What the steps share."""

    def __init__(self, report: Report, lamp: Lamp, aws: Aws, broker: Broker, elsewhere: Path) -> None:
        self.report, self.lamp, self.aws, self.broker = report, lamp, aws, broker
        # Where files go that are not for lamp to know.
        self.elsewhere = elsewhere
        self.rows = fleet()
        self.names = [row["thingName"] for row in self.rows]
        # What `lamp device create` answered, by name.
        self.created: dict[str, dict[str, Any]] = {}
        self.deleted = [row["thingName"] for row in self.rows[::3]]

    def run(self) -> None:
        self.apply_catalog()
        self.create()
        self.look()
        self.connect()
        self.attach()
        self.fetch_key()
        with Lights(self.lamp, self.elsewhere) as lights:
            groups = Groups(self.report, self.lamp, self.aws, lights, self.elsewhere)
            groups.create()
            groups.fill()
            groups.drain()
            renewal = Renewal(self.report, self.lamp, self.aws, self.broker, lights, self.elsewhere)
            renewal.make()
            # While certificates grow old enough to be due, there is time for more.
            renewal.refuse()
            Tunnel(self.report, self.lamp, lights, self.elsewhere).reach()
            compromise = Compromise(self.report, self.lamp, self.aws, self.broker, lights, self.elsewhere)
            compromise.cut_off()
            compromise.come_back()
            self.delete()
            renewal.sweep()
        self.created[STOLEN]["certificateId"] = compromise.enrolled
        self.rows += [*groups.rows(), *SHORT_LIVED]
        self.names += [*groups.names, *renewal.names]
        self.created |= groups.created | renewal.created
        self.count_what_is_left({compromise.stolen})

    def apply_catalog(self) -> None:
        report, file = self.report, EXAMPLE / "catalog.yaml"
        with report.step("The fleet's organisation", "lamp catalog apply examples/street-lights/catalog.yaml"):
            report.need(
                "the cloud has no thing and no certificate yet",
                (self.aws.things(), self.aws.certificates()), (set(), set()),
            )
            sections = yaml.safe_load(file.read_text())
            declared = {(kind, entry["name"]) for section, kind in KINDS.items() for entry in sections.get(section, [])}
            answer = self.lamp("catalog", "apply", file)
            report.need("lamp ends with exit code 0", (answer.exit, answer.stderr), (0, ""))
            there = {(each["kind"], each["name"]) for part in ("changes", "unchanged") for each in answer.document[part]}
            report.check(f"each of the {len(declared)} entries declared is there", sorted(declared - there), [])
            report.count("declared", len(declared))
            again = self.lamp("catalog", "apply", file).document
            report.check("applied again, it finds nothing to do", again["changes"], [])
            properties = self.aws.iot.describe_thing_type(thingTypeName="streetlight")["thingTypeProperties"]
            report.check(
                "AWS has the thing type, with its three searchable attributes",
                sorted(properties["searchableAttributes"]), ["city", "firmware_version", "wattage"],
            )

    def create(self) -> None:
        report, count = self.report, len(self.rows)
        with report.step(
            f"{count} lights, created", "lamp device create --from examples/street-lights/devices.csv",
        ):
            began = time.monotonic()
            answer = self.lamp("device", "create", "--from", EXAMPLE / "devices.csv", bars=True)
            seconds = time.monotonic() - began
            self.created = {each.get("thingName", ""): each for each in answer.documents}
            errors = [each for each in answer.documents if "error" in each]
            report.need("lamp ends with exit code 0", (answer.exit, errors), (0, []))
            report.need(f"all {count} were created, in the file's order", list(self.created), self.names)
            report.say(f"{seconds:.1f} s: {count / seconds:.1f} lights a second")
            report.count("created", count)
            report.count("seconds", round(seconds, 3))
            report.show(picture.made(self.rows, self.created))

            asked = {row["thingName"]: row["custody"] for row in self.rows}
            custody = Counter(asked.values())
            report.check(
                f"{custody['device']} keys were made here and never sent, {custody['vault']} by the vault",
                {name: each["custody"] for name, each in self.created.items()}, asked,
            )
            ids = {name: certificate_id(each["certificatePem"]) for name, each in self.created.items()}
            report.check(
                "every light has a certificate of its own, whose id is the SHA-256 of it",
                ({name: each["certificateId"] for name, each in self.created.items()}, len(set(ids.values()))),
                (ids, count),
            )
            own = [name for name in self.names if asked[name] == "device"]
            keys = {name: self.lamp.identity(name) for name in own}
            report.check(
                "every key made here is for its owner's eyes only, and is the one certified",
                [n for n, each in keys.items() if mode(each.key) != 0o600 or not belong_together(each)], [],
            )
            report.check(
                "no vault key is here",
                [name for name in self.names if asked[name] == "vault" and self.lamp.identity(name).key.exists()], [],
            )
            again = self.lamp("device", "create", "--from", EXAMPLE / "devices.csv", bars=True)
            report.check(
                "run again, every light is left as it is",
                [(each["created"], each["certificateId"]) for each in again.documents],
                [(False, each["certificateId"]) for each in self.created.values()],
            )

    def look(self) -> None:
        report, iot = self.report, self.aws.iot
        row = next(row for row in self.rows if row["thingName"] == SHOWN)
        with report.step("One light, from both sides", f"lamp device show {SHOWN}, and AWS's own API"):
            self.show_table("device", "show", SHOWN)
            record = self.lamp("device", "show", SHOWN).document
            report.check("the registry has it as ACTIVE", record.get("status"), "ACTIVE")
            thing = iot.describe_thing(thingName=SHOWN)
            attributes = {name.split(".")[1]: value for name, value in row.items() if name.startswith("attributes.")}
            report.check(
                "AWS has the thing, with the type, attributes and billing group of the file",
                (thing["thingTypeName"], thing["attributes"], thing.get("billingGroupName")),
                (row["thingType"], attributes, row["billingGroup"]),
            )
            found = self.created[SHOWN]["certificateId"]
            report.check(
                "AWS has one principal for it: the certificate in the registry, attached exclusively",
                (self.aws.principals(SHOWN), record.get("certificateId")),
                ([{"certificateId": found, "type": "EXCLUSIVE_THING"}], found),
            )
            report.check("the thing is in its district's group", self.aws.groups(SHOWN), [row["groups"]])
            certificate = iot.describe_certificate(certificateId=found)["certificateDescription"]
            report.check("the certificate is ACTIVE", certificate["status"], "ACTIVE")
            arn = certificate["certificateArn"]
            report.check("the certificate bears no policy of its own", self.aws.policies(arn), [])
            report.check(
                "as this thing it has the policy of the city's group, as any other client none",
                (self.aws.in_force(arn, SHOWN), self.aws.in_force(arn)), (["streetlight"], []),
            )

    def connect(self) -> None:
        report, identity = self.report, self.lamp.identity(SHOWN)
        with report.step("The certificate, proved", "MQTT over mutual TLS, as the light itself connects"):
            with Connection(self.broker, identity, SHOWN) as light:
                report.check(f"{SHOWN} connects with its certificate", light.refusal, None)
                topic = f"lamplighter/things/{SHOWN}/status"
                report.check("it speaks and listens on its own topic", light.echo(topic, b"lit"), b"lit")
            with Connection(self.broker, identity, "milan-navigli-03") as light:
                self.refused("the same certificate under another light's name is refused", light)
            key = new_key()
            stranger = keep(self.elsewhere, "stranger", key, self_signed(key, SHOWN))
            with Connection(self.broker, stranger, SHOWN) as light:
                self.refused("a stranger's certificate with the light's name on it is refused", light)

    def attach(self) -> None:
        report, iot = self.report, self.aws.iot
        with report.step(
            "Attachment is the power switch",
            "A certificate of AWS's own, made past Lamplighter: with no thing and no policy it can do nothing",
        ):
            key = new_key()
            made = iot.create_certificate_from_csr(
                certificateSigningRequest=signing_request(key, UNATTACHED), setAsActive=True,
            )
            identity = keep(self.elsewhere, UNATTACHED, key, made["certificatePem"])
            try:
                with Connection(self.broker, identity, UNATTACHED) as light:
                    self.refused("active, but attached to nothing: refused", light)
                iot.create_thing(thingName=UNATTACHED, thingTypeName="streetlight")
                iot.add_thing_to_thing_group(thingName=UNATTACHED, thingGroupName="milan-navigli")
                iot.attach_thing_principal(
                    thingName=UNATTACHED, principal=made["certificateArn"], thingPrincipalType="EXCLUSIVE_THING",
                )
                with Connection(self.broker, identity, UNATTACHED) as light:
                    report.check("attached to a thing of a city's group: accepted", light.refusal, None)
                iot.remove_thing_from_thing_group(thingName=UNATTACHED, thingGroupName="milan-navigli")
                with Connection(self.broker, identity, UNATTACHED) as light:
                    self.refused("the thing has left the group: refused again", light)
            finally:
                self.clear_away(made)
            report.check(
                "the demonstration leaves nothing behind",
                (UNATTACHED in self.aws.things(), made["certificateId"] in self.aws.certificates()), (False, False),
            )

    def clear_away(self, made: dict[str, Any]) -> None:
        iot = self.aws.iot
        if UNATTACHED in self.aws.things():
            for principal in iot.list_thing_principals(thingName=UNATTACHED)["principals"]:
                iot.detach_thing_principal(thingName=UNATTACHED, principal=principal)
            iot.delete_thing(thingName=UNATTACHED)
        iot.update_certificate(certificateId=made["certificateId"], newStatus="INACTIVE")
        iot.delete_certificate(certificateId=made["certificateId"])

    def fetch_key(self) -> None:
        report = self.report
        with report.step("One key, handed out once", f"lamp device credentials {IN_VAULT}"):
            objects = self.aws.custody().get(IN_VAULT, [])
            report.need("the vault holds one object for it", len(objects), 1)
            body, encryption = self.aws.sealed(objects[0])
            report.check(
                "what lies there is sealed, and encrypted by S3 besides",
                (b"PRIVATE KEY" in body, encryption), (False, "aws:kms"),
            )
            first = self.lamp("device", "credentials", IN_VAULT)
            report.need("lamp fetches the key: exit code 0", (first.exit, first.stderr), (0, ""))
            identity = self.lamp.identity(IN_VAULT)
            report.check(
                "it went straight into a file for its owner's eyes only, and is the one certified",
                (mode(identity.key), belong_together(identity)), (0o600, True),
            )
            report.check("it was not printed", "PRIVATE KEY" in json.dumps(first.documents) + first.stderr, False)
            with Connection(self.broker, identity, IN_VAULT) as light:
                report.check(f"{IN_VAULT} connects with it", light.refusal, None)
            second = self.lamp("device", "credentials", IN_VAULT, "--keys-dir", self.elsewhere / "again")
            for line in second.stderr.splitlines():
                report.say(line)
            report.check(
                "the second fetch is refused: exit code 3, HTTP 410",
                (second.exit, second.document.get("error", {}).get("status")), (3, 410),
            )

    def delete(self) -> None:
        report, names = self.report, self.deleted
        with report.step(f"{len(names)} lights, deleted", f"lamp device delete --wait {names[0]} {names[1]} …"):
            began = time.monotonic()
            answer = self.lamp("device", "delete", *names, "--wait", bars=True)
            seconds = time.monotonic() - began
            report.need("lamp ends with exit code 0", (answer.exit, errors(answer.documents)), (0, []))
            report.count("deleted", len(names))
            report.count("seconds", round(seconds, 3))
            report.say(f"{seconds:.1f} s, proofs included")
            report.check(
                "every operation is DONE", {each["thingName"]: each["status"] for each in answer.documents},
                dict.fromkeys(names, "DONE"),
            )
            proofs = [each.get("proof", []) for each in answer.documents]
            report.check(
                "every proof was looked for and is clear",
                [all(proof) and all(line["clear"] for line in proof) for proof in proofs], [True] * len(names),
            )
            self.show_table("operation", "show", answer.document["operationId"])
            report.check("AWS has none of the things", sorted(self.aws.things() & set(names)), [])
            gone = {self.created[name]["certificateId"] for name in names}
            report.check("AWS has none of the certificates", sorted(self.aws.certificates() & gone), [])
            report.check(
                "asked for one, AWS says so",
                self.aws.error("describe_certificate", certificateId=self.created[SHOWN]["certificateId"]),
                "ResourceNotFoundException",
            )
            report.check(
                "custody has no version of their keys", sorted(set(self.aws.custody()) & set(names)), [],
            )
            with Connection(self.broker, self.lamp.identity(SHOWN), SHOWN) as light:
                self.refused(f"{SHOWN}, whose certificate worked before, is refused", light)
            again = self.lamp("device", "delete", SHOWN)
            report.check(
                "deleting what is not there succeeds, and says so",
                (again.exit, again.document.get("status")), (0, "ABSENT"),
            )

    def count_what_is_left(self, revoked: set[str]) -> None:
        report = self.report
        left = [name for name in self.names if name not in self.deleted]
        with report.step("What is left", "lamp device list, and AWS's own lists beside it"):
            answer = self.lamp("device", "list", "--thing-type", "streetlight")
            listed = {each["thingName"]: each for each in answer.documents}
            report.check(f"the registry lists {len(left)} lights", sorted(listed), sorted(left))
            report.check("AWS has the same things, and none besides", sorted(self.aws.things()), sorted(left))
            report.check(
                "AWS has one certificate for each of them, the revoked one, and none besides",
                self.aws.certificates(),
                {self.created[name]["certificateId"] for name in left} | revoked,
            )
            vault = [row["thingName"] for row in self.rows if row["custody"] == "vault"]
            report.check(
                "custody has the keys of the vault's lights, and no other",
                sorted(self.aws.custody()), sorted(set(vault) & set(left)),
            )
            report.count("left", len(left))
            report.show(picture.city_map(self.rows, set(listed)))

    def show_table(self, *arguments: str) -> None:
        self.report.show(Text(self.lamp.table(self.report.console.width, *arguments)))

    def refused(self, claim: str, connection: Connection) -> None:
        self.report.check(claim, connection.verdict, "refused")
        if connection.refusal:
            self.report.say(connection.refusal)


def errors(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each for each in documents if "error" in each]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)
