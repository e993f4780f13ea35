"""The two assets on a small home: the table lands in the lake, the copy lands beside the publication."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from types import SimpleNamespace

import dagster as dg

from assets.publications.forms_assets import newest_month, public_copy, statistics
from assets.publications.manifest import verify
from tests.publications.lakes import AS_OF, publish_small, small_lake
from warehouse.lake import Lake
from warehouse.tables.statistic import OUT_STATISTIC


def stores(home: Path) -> SimpleNamespace:
    """What the assets ask of their resource."""

    def as_of() -> datetime:
        return AS_OF

    return SimpleNamespace(
        lake=lambda: Lake(str(home / "lake")),
        as_of=as_of,
        province_code="H15",
        start_on=date(2026, 1, 1),
        published=home / "published",
        remote=None,
    )


def test_statistics_are_stored_and_plotted_and_the_copy_stands_beside_the_publication(tmp_path: Path) -> None:
    lake = small_lake(tmp_path / "lake", dossiers=28)
    publish_small(lake, tmp_path)
    done = dg.materialize(
        [statistics, public_copy],
        resources={"stores": dg.ResourceDefinition.hardcoded_resource(stores(tmp_path))},
    )
    assert done.success
    rows = lake.read(OUT_STATISTIC)
    # Known up to 01:00 on 1 March in Vietnam: March has begun, and no dossier has an end.
    assert newest_month(rows) == {
        "received_total": 28,
        "carried_over": 28,
        "resolved_total": 0,
        "resolved_late": 0,
        "in_process_total": 28,
        "in_process_overdue": 0,
    }
    assert newest_month(rows.slice(0, 0)) == {}
    assert verify(tmp_path / "public") == []
