"""Killed anywhere, the next night ends where an undisturbed one would have."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.chains import SEEDS, kill_nights


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", SEEDS)
def test_kills_leave_no_trace(seed: int, tmp_path: Path) -> None:
    """Extraction, conforming, evaluation and publication are killed with SIGKILL at random moments."""
    kill_nights(seed, tmp_path, with_upkeep=False)
