"""`python -m local.job_cost`: what a job to many lights calls, and what that costs.

Jobs to few lights are carried out in a cloud of their own, and what the functions
called meanwhile is counted. Each two differ in one thing only, the number of
lights or of waves, so that their difference says what one more of it takes. A
job that differs in all of them is measured too, and compared with what the
others foretell. Then a job to 10,000 lights is priced.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from local import demo_cloud
from local.costs import JOB_EXECUTION, PRICES, Amounts, Call, amounts, usd
from local.job_cost_fleet import Fleet
from local.settings import DEFAULT_STATE_DIR, StateDir

STATE_DIR = DEFAULT_STATE_DIR / "job-cost"

# AWS takes so many things as a job's targets; a larger wave has a group.
MOST_DIRECT = 100
# The job that is priced.
PLAN = [10, 100, 1_000, 8_890]


@dataclass(frozen=True)
class Share:
    """How often each part of a job is in it."""

    waves: int
    grouped_waves: int
    lights: int
    grouped_lights: int


@dataclass(frozen=True)
class Parts:
    """What a job takes, part by part: itself, a wave, a wave by a group, a light, a light by a group."""

    once: Mapping[str, float]
    wave: Mapping[str, float]
    grouped_wave: Mapping[str, float]
    light: Mapping[str, float]
    grouped_light: Mapping[str, float]

    def of(self, share: Share) -> Amounts:
        """What a job takes that has so much of each."""
        parts = [
            (1, self.once), (share.waves, self.wave), (share.grouped_waves, self.grouped_wave),
            (share.lights, self.light), (share.grouped_lights, self.grouped_light),
        ]
        names = {name for _, part in parts for name in part}
        return {name: sum(times * part.get(name, 0) for times, part in parts) for name in names}


# The lights and waves of each job that is measured. A wave of 101 has a group, however
# few come. Lists are walked 25 lights at a time, and no such page has lights of two waves.
FEW, MANY = 50, 100
JOBS = {
    "few": (FEW, [100]),
    "many": (MANY, [100]),
    "twice": (FEW, [25, 25]),
    "few-grouped": (FEW, [101]),
    "many-grouped": (MANY, [101]),
    "check": (90, [10, 30, 101]),
}


def share(lights: int, waves: list[int]) -> Share:
    """How the lights are spread over waves of these sizes, in order."""
    left, direct, grouped = lights, [], []
    for size in waves:
        (direct if size <= MOST_DIRECT else grouped).append(min(size, left))
        left -= min(size, left)
    assert left == 0, "the waves take all lights"
    return Share(len(direct), len(grouped), sum(direct), sum(grouped))


def parts(measured: Mapping[str, Mapping[str, float]]) -> Parts:
    """What the measured jobs differ by."""
    names = {name for each in measured.values() for name in each}

    def part(what: Mapping[str, float], less: Mapping[str, float], by: int = 1) -> dict[str, float]:
        return {name: (what.get(name, 0) - less.get(name, 0)) / by for name in names}

    light = part(measured["many"], measured["few"], MANY - FEW)
    grouped_light = part(measured["many-grouped"], measured["few-grouped"], MANY - FEW)
    wave = part(measured["twice"], measured["few"])
    # A job of few lights is itself, a wave, and its lights.
    rest = {name: measured["few"].get(name, 0) - FEW * light[name] for name in names}
    once = part(rest, wave)
    grouped = {name: measured["few-grouped"].get(name, 0) - FEW * grouped_light[name] for name in names}
    return Parts(once, wave, part(grouped, once), light, grouped_light)


def by_name(calls: list[Call]) -> Counter[str]:
    """Which function called what, how often."""
    return Counter(f"{call['function'].removeprefix('lamplighter-')} {call['operation']}" for call in calls)


def main() -> int:
    """Print what was measured; 0 is that all of it was."""
    console, state = Console(highlight=False, width=130), StateDir(Path(STATE_DIR))
    demo_cloud.clear(state)
    took: dict[str, Amounts] = {}
    called: dict[str, Counter[str]] = {}
    try:
        if demo_cloud.cloud(state, "up") != 0:
            return 1
        fleet = Fleet(state)
        fleet.create({f"cost-{name}": lights for name, (lights, _) in JOBS.items()})
        for name, (lights, waves) in JOBS.items():
            calls, transitions = fleet.job(f"cost-{name}", waves)
            took[name], called[name] = amounts(calls, transitions), by_name(calls)
            console.print(f"{name}: {lights} lights in waves of {waves}: {len(calls)} calls, {transitions} transitions")
    finally:
        demo_cloud.clear(state)
    console.print(_check(took["check"], parts(took).of(share(*JOBS["check"]))))
    console.print(_calls(parts(called)))
    console.print(_bill(parts(took)))
    return 0


def _check(seen: Amounts, foretold: Amounts) -> Table:
    table = Table("", title="one more job, measured and foretold")
    for title in ("measured", "foretold"):
        table.add_column(title, justify="right")
    for what in PRICES:
        table.add_row(what, f"{seen[what]:g}", f"{foretold[what]:.1f}")
    table.add_row("USD", f"{usd(seen):.5f}", f"{usd(foretold):.5f}")
    return table


def _calls(called: Parts) -> Table:
    table = Table("", title="calls of the functions")
    columns = [called.once, called.wave, called.grouped_wave, called.light, called.grouped_light]
    for title in ("a job", "a wave", "by a group", "a light", "by a group"):
        table.add_column(title, justify="right")
    for name in sorted(called.once):
        if any(abs(column[name]) >= 0.01 for column in columns):
            table.add_row(name, *(f"{column[name]:.2f}" for column in columns))
    return table


def _bill(took: Parts) -> Table:
    lights = sum(PLAN)
    all_of_it, one = took.of(share(lights, PLAN)), took.grouped_light
    table = Table("", title=f"a job to {lights:,} lights, in waves of {', '.join(f'{size:,}' for size in PLAN)}")
    for title in ("a light of a group", "all", "USD"):
        table.add_column(title, justify="right")
    for what in PRICES:
        much = all_of_it[what]
        table.add_row(what, f"{one[what]:.2f}", f"{much:,.0f}", f"{much * PRICES[what]:.4f}")
    table.add_row("what Lamplighter adds", f"{usd(one):.7f} USD", "", f"{usd(all_of_it):.4f}", end_section=True)
    table.add_row("AWS's own: job executions", "1.00", f"{lights:,}", f"{lights * JOB_EXECUTION:.2f}")
    return table


if __name__ == "__main__":
    sys.exit(main())
