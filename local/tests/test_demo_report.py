"""The demo cannot end well with a claim that is not so, or with none at all."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from local.demo_report import Report, Stopped


@pytest.fixture
def report() -> Report:
    return Report(Console(file=io.StringIO(), width=100))


def printed(report: Report) -> str:
    assert isinstance(report.console.file, io.StringIO)
    return report.console.file.getvalue()


def test_a_claim_that_holds_is_printed_and_counted(report: Report, tmp_path: Path) -> None:
    with report.step("a step", "what is done"):
        assert report.check("two is two", 2, 2)
        report.count("lights", 30)
    written = json.loads(report.write(tmp_path / "new").read_text())
    assert written["ok"] is True
    assert written["steps"][0]["counts"] == {"lights": 30}
    assert written["steps"][0]["checks"] == [{"claim": "two is two", "ok": True, "expected": 2, "found": 2}]


def test_a_claim_that_does_not_hold_says_expected_and_found(report: Report) -> None:
    with report.step("a step", "what is done"):
        report.check("one is one", 1, 1)
        assert not report.check("one is two", 1, 2)
    assert "✗ one is two" in printed(report)
    assert "expected: 2" in printed(report)
    assert "found:    1" in printed(report)
    assert report.document()["ok"] is False


def test_a_needed_claim_stops_the_demo(report: Report) -> None:
    with pytest.raises(Stopped), report.step("a step", "what is done"):
        report.need("it is so", False)
    assert [check.claim for check in report.failed] == ["it is so"]


def test_an_error_is_a_failed_check_of_its_step(report: Report) -> None:
    with pytest.raises(Stopped), report.step("a step", "what is done"):
        raise ValueError("nobody expected this")
    assert report.failed[0].found == "ValueError: nobody expected this"
    assert report.document()["ok"] is False


def test_nothing_checked_is_no_success(report: Report) -> None:
    with report.step("a step", "what is done"):
        pass
    assert report.document()["ok"] is False
