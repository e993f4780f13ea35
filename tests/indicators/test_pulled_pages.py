"""Pages of observations that have not changed: believed only once what they held is stored."""

from __future__ import annotations

from pathlib import Path

import pytest

from assets.indicators.observed_assets import _pulled, store_readings
from tests.connectors.test_conditional import Pages
from tests.connectors.test_loop import serving
from tests.connectors.test_observations import INDICATORS, NOW, UNITS
from tests.connectors.test_observations_http import settings
from warehouse.database import Database
from warehouse.lake import Lake
from warehouse.tables.observation import CORE_OBSERVATION

NAME = "van-ban"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OBSERVATION_TOKEN", "canary-of-a-token")


def test_the_next_night_asks_for_changes_only_and_a_night_that_was_killed_does_not_count(tmp_path: Path) -> None:
    server, lake = Pages(), Lake(str(tmp_path / "lake"))
    database = Database.open(f"sqlite:///{tmp_path}/t.db")
    with serving(server.route()) as origin:

        def pulled(into: Lake) -> None:
            found = _pulled(
                into, database, NAME, settings(f"{origin}/v1/observations"), indicators=INDICATORS, units=UNITS, now=NOW
            )
            store_readings(into, found, now=NOW)

        killed = _pulled(
            lake, database, NAME, settings(f"{origin}/v1/observations"), indicators=INDICATORS, units=UNITS, now=NOW
        )
        assert next(killed).rows.num_rows == 2
        killed.close()  # type: ignore[attr-defined]  # a generator, typed as iterator
        assert server.asked() == [("1", 200), ("2", 200)]

        pulled(lake)
        assert server.asked() == [("1", 200), ("2", 200)]
        pulled(lake)
        assert server.asked() == [("1", 304), ("2", 304)]
        assert lake.read(CORE_OBSERVATION).num_rows == 2

        # The lake was lost: nothing is believed to be there because a page has not changed.
        lost = Lake(str(tmp_path / "other"))
        pulled(lost)
        assert server.asked() == [("1", 200), ("2", 200)]
        assert lost.read(CORE_OBSERVATION).num_rows == 2
