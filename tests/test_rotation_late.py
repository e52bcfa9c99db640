"""A word that a light could not hear yet is said again when it can.

Run by `make test-system`; LAMPLIGHTER_OUTPUTS names the stack.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from rotating import Cloud, Light

# Longer than it takes to act upon a connection.
LATE_SECONDS = 2.0


def under_way(_cloud: Cloud, light: Light) -> None:
    light.step()


def issued(_cloud: Cloud, light: Light) -> None:
    light.has_new_certificate()


def due(cloud: Cloud, light: Light) -> None:
    cloud.change(f"DEVICE#{light.name} CERT#{light.old}", "dueAt", 1)


@pytest.mark.parametrize(("prepare", "word"), [(under_way, "renew"), (issued, "accepted"), (due, "renew")])
def test_a_light_that_subscribes_late_misses_no_word(
    tmp_path: Path, prepare: Callable[[Cloud, Light], None], word: str,
) -> None:
    cloud = Cloud()
    light = Light(cloud, tmp_path)
    prepare(cloud, light)
    with light.connect() as connection:
        assert connection.refusal is None
        time.sleep(LATE_SECONDS)
        assert connection.subscribe(light.topic(word))
        heard = connection.hear()
    assert heard is not None, "it was told before it listened"
    if prepare is not due:
        assert json.loads(heard[1])["rotationId"] == light.rotation
