"""The demo's job: a firmware goes to a canary and then to waves, one of which is stopped, and to those that failed."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from local.demo_cloud import Answer, Lamp
from local.demo_lights import until
from local.demo_report import Report

CANARY, WAVE, MOST_FAILED = 5, 195, 10
# Slowly enough that a wave is broken off before everybody in it was told.
PER_MINUTE = 100


class Rollout:
    """A job of a template to a dynamic group, and what is seen of it."""

    def __init__(self, report: Report, lamp: Lamp, template: str, parameters: dict[str, str], group: str) -> None:
        self.report, self.lamp = report, lamp
        values = [argument for name, value in parameters.items() for argument in ("-p", f"{name}={value}")]
        self._asked = (
            "job", "run", template, *values, "--dynamic-group", group, "--wave", CANARY, "--wave", WAVE,
            "--most-failed-percent", MOST_FAILED, "--per-minute", PER_MINUTE,
        )
        self.command = f"lamp job run {template} --dynamic-group {group} --wave {CANARY} --wave {WAVE}"
        self._job: dict[str, Any] = {}

    def forecast(self, names: list[str]) -> None:
        """A dry run names everybody."""
        report = self.report
        with report.step("A job for whom?", f"{self.command} --dry-run"):
            answer = self.lamp(*self._asked, "--dry-run")
            waves = answer.document.get("waves", [])
            told = [name for wave in waves for name in wave.get("things", [])]
            report.check("a dry run names who would get it, in which wave: exit code 0", (answer.exit, sorted(told)), (0, sorted(names)))
            report.check("a canary, then the rest", [len(wave.get("things", [])) for wave in waves], [CANARY, len(names) - CANARY])

    def start_and_watch(self) -> None:
        """Until it rests."""
        self._watch(self.lamp(*self._asked, "--watch", bars=True))

    def stopped_by(self, fault: str) -> None:
        """The canary passed, and the wave after it did not."""
        report, job = self.report, self._job
        ends = {each["wave"]: each["end"] for each in self._told("waveEnded")}
        report.need("the canary passes, and the wave after it is broken off", ends, {1: "COMPLETE", 2: "TOO_MANY_FAILED"})
        report.check("the job waits for somebody to decide", job["status"], "PAUSED")
        report.say(job.get("reason", ""))
        # What a light says itself may come later than what AWS lists.
        why = until(lambda: [each["reason"].endswith(fault) for each in self._show()["failures"]], [True])
        report.check(f"it says why they failed: {fault}", why, [True])
        counts = self._told("waveEnded")[-1]["counts"]
        told = sum(counts[each] for each in ("succeeded", "unconfirmed", "inProgress", "failed"))
        report.check("before everybody in it was told", told < WAVE)
        report.say(f"{told} of {WAVE} were told")

    def settled(self) -> int:
        """How many run it when all that had begun have ended."""
        until(lambda: self._show()["counts"]["inProgress"], 0)
        return self._show()["counts"]["succeeded"]

    def resume_and_watch(self) -> None:
        """Whoever had no turn has it now."""
        self._tell("resume")
        self._watch(self.lamp("job", "watch", self._job["jobId"], bars=True))
        failed = self._job["counts"]["failed"]
        self.report.need("all who had no turn have it now: DONE", self._job["status"], "DONE")
        self.report.say(f"{self._job['counts']['succeeded']} succeeded, {failed} had failed before")

    def retry_and_watch(self, everybody: int) -> None:
        """Whoever failed has another turn, and nobody else."""
        failed, waves = self._job["counts"]["failed"], len(self._told("waveBegan"))
        self._tell("retry")
        self._watch(self.lamp("job", "watch", self._job["jobId"], bars=True))
        again = self._told("waveBegan")[waves:]
        report = self.report
        report.check(
            f"lamp job retry gives it to those {failed} again, a canary first, and to nobody else",
            [each["devices"] for each in again], [CANARY, failed - CANARY],
        )
        report.need(
            f"it is DONE: all {everybody} report the new version",
            (self._job["status"], self._job["counts"]["succeeded"]), ("DONE", everybody),
        )

    def tell_the_trail(self) -> None:
        """Who did what, and when."""
        by = {each["by"].rpartition("/")[0] != "" for each in self._told("asked", "resumed", "retried")}
        self.report.check("its trail names who asked, resumed and retried", by, {True})
        self.report.show(Text(self.lamp.table(self.report.console.width, "job", "show", self._job["jobId"])))

    def _tell(self, command: str) -> None:
        # Until AWS has let go of the wave, it is not taken.
        answer = until(lambda: self.lamp("job", command, self._job["jobId"]).exit in (0, 4), True)
        self.report.check(f"lamp job {command} is taken", answer)

    def _watch(self, answer: Answer) -> None:
        self.report.need("lamp job watch follows it until it rests", bool(answer.documents))
        self._job = answer.documents[-1]

    def _show(self) -> dict[str, Any]:
        return self.lamp("job", "show", self._job["jobId"]).document

    def _told(self, *kinds: str) -> list[dict[str, Any]]:
        return [each for each in self._job["events"] if each["what"] in kinds]
