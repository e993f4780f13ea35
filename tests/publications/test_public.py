"""The public copy of a publication: what it holds, what stops it, and that it is switched whole."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.publications import public
from assets.publications.manifest import MANIFEST, ManifestError, read_manifest, verify
from assets.publications.public import write_public
from assets.publications.publish import Publication, PublicationRefusedError
from assets.publications.suppression import suppress
from tests.publications.lakes import publish_small, small_lake
from tests.publications.test_suppression import full, indicator_rows, month_counts, statistic_rows
from warehouse.lake import Lake
from warehouse.tables import OUT_INDICATOR
from warehouse.tables.statistic import OUT_STATISTIC, PUBLIC_INDICATOR


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A storage folder with one publication whose indicator has one small count."""
    lake = small_lake(tmp_path / "lake", dossiers=4)
    lake.replace(OUT_INDICATOR, indicator_rows({**full(50, 100), ("H15.SNV", 4): (3, 90)}))
    publish_small(lake, tmp_path, night="n1")
    return tmp_path


def copy(home: Path, **more: Any) -> Publication:
    return write_public(home / "published", folder=home / "public", **more)


def test_a_copy_is_whole_rounded_and_names_its_source(home: Path) -> None:
    made = copy(home)
    assert verify(home / "public") == []
    manifest = read_manifest(home / "public")
    assert manifest["x-source-fingerprint"] == read_manifest(home / "published")["x-fingerprint"]
    assert (manifest["x-threshold"], manifest["x-rounding"], manifest["x-cursors"]) == (7, 5, {})
    assert {path.name for path in made.folder.iterdir()} == {
        "public_indicator.parquet",
        "public_statistic.parquet",
        MANIFEST,
    }
    rows = pq.read_table(home / "public" / "public_indicator.parquet").to_pylist()
    may = [
        row
        for row in rows
        if (row["unit_code"], row["period"], row["period_start"]) == ("H15.SNV", "month", date(2025, 5, 1))
    ]
    assert [(row["numerator"], row["denominator"], row["rate"], row["state"]) for row in may] == [
        (None, None, None, "suppressed")
    ]
    assert {row["denominator"] % 5 for row in rows if row["denominator"] is not None} == {0}


def test_equal_publications_give_equal_copies(home: Path) -> None:
    first, second = copy(home), copy(home)
    assert first.folder != second.folder
    assert first.fingerprint == second.fingerprint
    assert (home / "public").resolve() == second.folder


def test_statistics_are_copied_as_well(home: Path) -> None:
    communes = {"H15.10": [month_counts(30, 20, 10, 40, 10, 50, 20)] * 12}
    lake = Lake(str(home / "lake"))
    lake.replace(OUT_STATISTIC, statistic_rows(communes))
    publish_small(lake, home, night="n2")
    copy(home)
    # The commune, its level and the province in 12 months, 4 quarters, 2 halves and the year.
    assert pq.read_metadata(home / "public" / "public_statistic.parquet").num_rows == 3 * (12 + 4 + 2 + 1)


def test_a_copy_that_gives_something_away_is_refused_and_the_old_one_stays(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = copy(home)

    def careless(rows: pa.Table, **_: int) -> pa.Table:
        return rows.select(PUBLIC_INDICATOR.column_names) if "indicator" in rows.column_names else suppress(rows)

    monkeypatch.setattr(public, "suppress", careless)
    with pytest.raises(PublicationRefusedError, match=r"làm lộ \d+ số đếm nhỏ") as caught:
        copy(home)
    assert "shown_small: online/1 numerator, unit province H15.SNV, month 2025-05-01" in str(caught.value)
    assert (home / "public").resolve() == old.folder
    assert [path.name for path in (home / "public-copies").glob("2*")] == [old.folder.name]


def test_a_disk_that_fails_leaves_the_old_copy_and_nothing_besides(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = copy(home)

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(public, "write_manifest", full_disk)
    with pytest.raises(OSError, match="No space"):
        copy(home)
    assert verify(home / "public") == []
    assert [path.name for path in (home / "public-copies").glob("2*")] == [old.folder.name]


def test_what_is_no_publication_is_named(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="not a finished publication"):
        write_public(tmp_path / "published", folder=tmp_path / "public")


def test_a_real_folder_in_place_of_the_link_is_refused(home: Path) -> None:
    (home / "public").mkdir()
    with pytest.raises(PublicationRefusedError, match="real folder"):
        copy(home)


def test_known_up_to_is_that_of_the_source(home: Path) -> None:
    copy(home)
    assert datetime.fromisoformat(read_manifest(home / "public")["x-as-of"]) == datetime(2026, 2, 28, 18, tzinfo=UTC)
