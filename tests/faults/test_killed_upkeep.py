"""Killed anywhere, upkeep included, the next night leaves the same tables and no file that nobody knows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.chains import SEEDS, kill_nights


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", SEEDS)
def test_kills_leave_no_trace_and_no_orphan(seed: int, tmp_path: Path) -> None:
    """Every night ends with an upkeep that keeps nothing else, and is killed at random moments from end to end."""
    kill_nights(seed, tmp_path, with_upkeep=True)
