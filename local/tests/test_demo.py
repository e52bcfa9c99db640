"""The demo has a cloud of its own, and leaves it up only when asked to."""

from __future__ import annotations

from pathlib import Path

import pytest

from local import demo, demo_cloud
from local.demo_report import Report, Stopped
from local.settings import DEFAULT_STATE_DIR, DEMO_STATE_DIR, StateDir


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """What the demo does to the cloud in its state directory, which here is a new one."""
    made: list[str] = []
    monkeypatch.setattr(demo, "DEMO_STATE_DIR", tmp_path)
    monkeypatch.setattr(demo, "ROOT", tmp_path.parent)
    monkeypatch.setattr(demo_cloud, "clear", lambda state: made.append(f"clear {state.path.name}"))
    monkeypatch.setattr(demo, "show", lambda _report, state: made.append(f"show {state.path.name}"))
    return made


def test_its_cloud_is_not_the_one_that_people_use() -> None:
    assert DEMO_STATE_DIR != DEFAULT_STATE_DIR
    assert StateDir(DEMO_STATE_DIR).process_file != StateDir(DEFAULT_STATE_DIR).process_file


@pytest.mark.parametrize(
    ("given", "expected"),
    [([], ["clear", "show", "clear"]), (["--keep"], ["clear", "show"])],
)
def test_it_begins_with_a_new_cloud_and_takes_it_down_unless_it_is_kept(
    calls: list[str], tmp_path: Path, given: list[str], expected: list[str],
) -> None:
    demo.main(given)
    assert calls == [f"{call} {tmp_path.name}" for call in expected]


@pytest.mark.parametrize(("ending", "exit_code"), [(Stopped("so"), 1), (KeyboardInterrupt(), 130)])
def test_it_takes_its_cloud_down_however_it_ends(
    calls: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ending: BaseException, exit_code: int,
) -> None:
    def show(_report: Report, _state: StateDir) -> None:
        raise ending

    monkeypatch.setattr(demo, "show", show)
    assert demo.main([]) == exit_code
    assert calls == [f"clear {tmp_path.name}"] * 2


def test_a_second_demo_beside_it_is_refused(
    calls: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    with demo_cloud.alone(StateDir(tmp_path)):
        assert demo.main([]) == 2
    assert calls == []
    assert "another demo" in capsys.readouterr().err
    demo.main([])
    assert calls, "once the first has ended, it runs"


def test_what_it_clears_away_are_the_keys_of_its_own_devices(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    scratch = demo_cloud.fresh_scratch(state)
    (scratch / "key.pem").touch()
    (tmp_path / "emulator.log").touch()
    demo_cloud.clear(state)
    assert [each.name for each in tmp_path.iterdir()] == ["emulator.log"]
