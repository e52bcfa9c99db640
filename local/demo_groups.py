"""The demo's dynamic groups: 200 lights whose firmware is old, and a group of them that keeps itself.

The lights are the reference device's: they say their firmware's version in their shadow, over MQTT, and get a new
one by a job. Nobody puts them into the group or takes them out of it.
"""

from __future__ import annotations

import csv
import shutil
import time
from collections import Counter
from pathlib import Path
from typing import Any

from rich.live import Live
from rich.text import Text

from local import demo_picture as picture
from local.demo_cloud import EXAMPLE, Aws, Lamp
from local.demo_job import Rollout
from local.demo_lights import PATIENCE_SECONDS, Light, Lights, until
from local.demo_report import Report

# What the demo's cloud is deployed with: nobody would like to watch the listing's index settle.
PARAMETERS = {"GroupSweepSettleSeconds": "1"}

GROUP, OLD, NEW = "outdated-firmware", "2.0.3", "2.1.0"
DISTRICTS = {
    "milan-brera": "milan", "milan-navigli": "milan", "turin-centro": "turin", "genoa-foce": "genoa",
}
A_DISTRICT = 50
ROWS = [
    {
        "thingName": f"{district}-{number}", "thingType": "streetlight", "groups": district,
        "billingGroup": f"billing-{city}", "custody": "device", "issuer": "aws-iot",
        "attributes.city": city, "attributes.wattage": "40", "attributes.firmware_version": OLD,
    }
    for district, city in DISTRICTS.items() for number in range(101, 101 + A_DISTRICT)
]
# Its lights cannot install anything at first.
FULL = "milan-brera"
INSTALL, FAULT = "install.sh", "no room in the slot"
# A second group, which is defined while the first one drains.
SECOND, QUERY = "still-on-2-0", "shadow.reported.firmware_version:2.0.*"
# So many are created at a time.
AT_ONCE = 12
# They are many, and so each says something now and then only.
PACE_SECONDS = 20


class Groups:
    """What its steps share with one another, and with the rest of the demo."""

    def __init__(self, report: Report, lamp: Lamp, aws: Aws, lights: Lights, elsewhere: Path) -> None:
        self.report, self.lamp, self.aws, self.lights, self.elsewhere = report, lamp, aws, lights, elsewhere
        self.names = [row["thingName"] for row in ROWS]
        self.created: dict[str, dict[str, Any]] = {}
        self._shining: dict[str, Light] = {}
        self._watch: Light

    def create(self) -> None:
        """Two hundred lights, and the group has none of them yet."""
        report, count = self.report, len(self.names)
        with report.step(f"{count} lights more", f"lamp device create --concurrency {AT_ONCE} --from lights.csv"):
            everyone = self._file("lights", ROWS)
            began = time.monotonic()
            answer = self.lamp("device", "create", "--concurrency", AT_ONCE, "--from", everyone, bars=True)
            seconds = time.monotonic() - began
            self.created = {each.get("thingName", ""): each for each in answer.documents}
            report.need(f"all {count} were created: exit code 0", (answer.exit, list(self.created)), (0, self.names))
            report.say(f"{seconds:.1f} s: {count / seconds:.1f} lights a second")
            report.count("seconds", round(seconds, 3))
            shown = until(lambda: self._show(GROUP).get("status"), "ACTIVE")
            report.need(f"the catalog's group {GROUP} is ACTIVE: every light has been asked", shown, "ACTIVE")
            report.check("none is in it: no light has said yet which firmware it runs", self._members(GROUP), [])

    def fill(self) -> None:
        """They connect, and say that their firmware is old."""
        report, count = self.report, len(self.names)
        with report.step("A group that fills", f"lamp fleet run --firmware {OLD}; lamp group watch {GROUP}"):
            self._watch = self.lights.start("watch", "group", "watch", GROUP, "--every", 300, pace=None)
            began = time.monotonic()
            for district in DISTRICTS:
                self._switch_on(district)
            filled = self._follow(count)
            report.need(f"all {count} enter {GROUP}, by what they say over MQTT", filled, count)
            seconds = time.monotonic() - began
            report.count("seconds", round(seconds, 3))
            report.say(f"{seconds:.1f} s from switching them on")
            report.check("its members are these, and no others", self._members(GROUP), sorted(self.names))
            light = self.names[0]
            report.check(
                f"AWS's own shadow of {light} says the same", self.aws.reported(light).get("firmware_version"), OLD,
            )
            self._explain(light)

    def drain(self) -> None:
        """They get the new firmware by a job, in waves, and leave by themselves."""
        report, handlers = self.report, self._handlers(FULL)
        image = self.aws.upload(f"firmware/{NEW}.bin", NEW.encode() * 10_000)
        rollout = Rollout(report, self.lamp, "firmware", {"version": NEW, "image": image}, GROUP)
        rollout.forecast(self.names)
        with report.step("A canary, and a wave that is stopped", f"{rollout.command} --watch"):
            rollout.start_and_watch()
            rollout.stopped_by(FAULT)
            # Who had begun when the wave was broken off goes on.
            old = len(self.names) - rollout.settled()
            report.check(f"those that run {NEW} have left the group: {old} are left", self._follow(old), old)
            self._define()
        with report.step("…mended, and resumed", f"the lights of {FULL} have room again; lamp job resume, lamp job retry"):
            shutil.copy(EXAMPLE / "handlers" / INSTALL, handlers)
            rollout.resume_and_watch()
            rollout.retry_and_watch(len(self.names))
            report.check(f"{GROUP} is empty", self._follow(0), 0)
            empty = until(lambda: self._show(SECOND).get("members"), 0)
            report.check(f"and so is {SECOND}", empty, 0)
            self._look_at_events()
            removed = self.lamp("group", "delete", SECOND)
            report.check(f"lamp removes {SECOND}: exit code 0", (removed.exit, removed.document.get("status")), (0, "REMOVED"))
            for light in self._shining.values():
                light.switch_off()
            rollout.tell_the_trail()

    def rows(self) -> list[dict[str, str]]:
        """The lights, with the firmware that they run by now."""
        return [{**row, "attributes.firmware_version": NEW} for row in ROWS]

    def _define(self) -> None:
        """A dry run says who will enter a new group, and then just they do."""
        report = self.report
        put = ("group", "put", "--name", SECOND, "--query", QUERY)
        old = sorted(self._members(GROUP))
        said = self.lamp(*put, "--dry-run").document
        report.check(
            f"a dry run of the group {SECOND} says that {len(old)} lights would enter",
            (said.get("entering", {}).get("count"), said.get("leaving", {}).get("count")), (len(old), 0),
        )
        answer = self.lamp(*put, "--wait")
        report.need(
            "lamp puts it, and waits until all lights have been asked: exit code 0",
            (answer.exit, answer.document.get("status")), (0, "ACTIVE"),
        )
        report.check("just those are in it", self._members(SECOND), old)

    def _look_at_events(self) -> None:
        """Who watched has seen each light enter once, and leave once."""
        report, count = self.report, len(self.names)
        self._watch_saw(count)
        kinds = Counter(f"{each['detail-type']} {each['detail']['thingName']}" for each in self._watch.lines())
        expected = {f"{kind} {name}": 1 for kind in ("GroupEntered", "GroupLeft") for name in self.names}
        report.check("who watched saw each of them enter once, and leave once", dict(kinds), expected)
        self._watch.switch_off()

    def _watch_saw(self, count: int) -> None:
        until(lambda: len(self._watch.lines()) >= 2 * count, True)

    def _explain(self, light: str) -> None:
        query = 'shadow.reported.firmware_version<semver"2.1.0"'
        said = self.lamp("group", "test", "--beyond-aws", "--query", query, "--device", light).document
        self.report.check("lamp explains why it is in it", said.get("result"), True)
        for clause in said.get("decidedBy", []):
            self.report.say(f"{clause['clause']}: the device has {', '.join(clause['seen'])}")

    def _switch_on(self, district: str) -> None:
        rows = [row for row in ROWS if row["groups"] == district]
        self._shining[district] = self.lights.start(
            district, "fleet", "run", "--from", self._file(district, rows), "--firmware", OLD,
            "--handlers", self._handlers(district), pace=PACE_SECONDS,
        )

    def _handlers(self, district: str) -> Path:
        """The example's handlers; in one district one of them fails."""
        if district != FULL:
            return EXAMPLE / "handlers"
        folder = self.elsewhere / "handlers"
        if not folder.exists():
            shutil.copytree(EXAMPLE / "handlers", folder)
            (folder / INSTALL).write_text(f"#!/bin/sh\necho '{FAULT}' >&2\nexit 74\n")
        return folder

    def _follow(self, wanted: int) -> int:
        """Show how many are in the group, until it is as many as wanted; how many it was at last."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        with Live(console=self.report.console, transient=True, refresh_per_second=8) as live:
            while (seen := self._show(GROUP).get("members", 0)) != wanted and time.monotonic() < deadline:
                live.update(picture.filling(GROUP, seen, len(self.names)))
                time.sleep(0.2)
        self.report.show(Text.assemble("    ", picture.filling(GROUP, seen, len(self.names))))
        return seen

    def _show(self, group: str) -> dict[str, Any]:
        return self.lamp("group", "show", group).document

    def _members(self, group: str) -> list[str]:
        return [each["thingName"] for each in self.lamp("group", "members", group).documents]

    def _file(self, name: str, rows: list[dict[str, str]]) -> Path:
        path = self.elsewhere / f"{name}.csv"
        if not path.exists():
            with path.open("w", newline="") as file:
                writer = csv.DictWriter(file, rows[0])
                writer.writeheader()
                writer.writerows(rows)
        return path
