"""The fleet as tables that a person reads at a glance."""

from __future__ import annotations

from collections import Counter
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

Rows = list[dict[str, str]]

# A district of more lights is drawn as a number.
MOST_DRAWN = 12


def made(rows: Rows, created: dict[str, dict[str, Any]]) -> Table:
    """What was created: a line for each district."""
    table = Table(box=box.ROUNDED, title="created", title_style="bold")
    for heading in ("city", "district", "lights", "key on the device", "key in the vault", "first certificate"):
        table.add_column(heading, justify="right" if "key" in heading or heading == "lights" else "left")
    for group, lights in _districts(rows).items():
        custody = Counter(row["custody"] for row in lights)
        city, district = group.split("-", 1)
        first = created[lights[0]["thingName"]]["certificateId"]
        table.add_row(
            city.title(), district.title(), str(len(lights)), str(custody["device"]), str(custody["vault"]),
            f"{first[:12]}…",
        )
    return table


def renewed(rotations: list[dict[str, Any]]) -> Table:
    """What was renewed: a line for each light, and how long it was silent at most."""
    table = Table(box=box.ROUNDED, title="renewed, while they shone", title_style="bold",
                  caption="silence: the longest time between two messages")
    for heading in ("light", "before", "now"):
        table.add_column(heading, no_wrap=True)
    for heading in ("took", "messages", "silence"):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in rotations:
        table.add_row(
            each["thingName"], Text(f"{each['from'][:8]}…", style="dim strike"), f"{each['to'][:8]}…",
            f"{each['seconds']:.1f} s", str(each["messages"]), f"{each['longestGapSeconds']:.1f} s",
        )
    return table


def filling(group: str, members: int, most: int) -> Text:
    """How full a group is, in one line."""
    width = 36
    full = round(members * width / most)
    bar = Text("●" * full, style="yellow")
    bar.append("○" * (width - full), style="dim")
    return Text.assemble((f"{group} ", "bold"), bar, f" {members} of {most}")


def city_map(rows: Rows, left: set[str]) -> Table:
    """A lamp for every light: burning where it is still there."""
    table = Table(box=box.ROUNDED, title="the fleet now", title_style="bold", show_footer=True)
    burning = [row for row in rows if row["thingName"] in left]
    table.add_column("city", footer="all")
    table.add_column("district")
    table.add_column("lights", footer=_lamps(len(burning), 0, style="bold yellow", text=f"{len(burning)} lit"))
    table.add_column("left", justify="right", footer=str(len(burning)))
    table.add_column("deleted", justify="right", footer=str(len(rows) - len(burning)))
    table.add_column("watts", justify="right", footer=str(_watts(burning)))
    table.add_column("firmware", footer=_firmware(burning))
    previous = ""
    for group, lights in _districts(rows).items():
        city, district = group.split("-", 1)
        there = [row for row in lights if row["thingName"] in left]
        if previous and city != previous:
            table.add_section()
        table.add_row(
            city.title() if city != previous else "", district.title(),
            _lamps(len(there), len(lights) - len(there)), str(len(there)), str(len(lights) - len(there)),
            str(_watts(there)), _firmware(there),
        )
        previous = city
    return table


def _districts(rows: Rows) -> dict[str, Rows]:
    found: dict[str, Rows] = {}
    for row in rows:
        found.setdefault(row["groups"], []).append(row)
    return found


def _lamps(lit: int, out: int, *, style: str = "yellow", text: str | None = None) -> Text:
    if text is None and lit + out > MOST_DRAWN:
        text, out = f"● × {lit}", 0
    lamps = Text(text or "●" * lit, style=style)
    lamps.append("○" * out, style="dim")
    return lamps


def _watts(rows: Rows) -> int:
    return sum(int(row["attributes.wattage"]) for row in rows)


def _firmware(rows: Rows) -> str:
    versions = Counter(row["attributes.firmware_version"] for row in rows)
    return ", ".join(f"{count} × {version}" for version, count in sorted(versions.items()))
