"""Memberships are the rows behind the published counts: summed, they must be these counts, everywhere.

At the level of whole nights over an invented province, because the promise is about every dossier and every
definition there is.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pandas as pd

from assets.indicators.definitions import FOLDER, load_definition, load_definitions
from assets.indicators.evaluate import counting_statement
from assets.periods import Period
from assets.questions.memberships import memberships
from assets.questions.past import PastLake, night_known_on
from tests.questions.conftest import TwoNights
from tests.rows import table_rows
from tests.truth.nights import Night
from warehouse.lake import Lake
from warehouse.tables import CORE_DOSSIER

_KINDS = ("month", "quarter", "half", "year")
_KEY = ["indicator", "version", "unit_code", "period", "period_start"]


def _period_start(month: pd.Series, kind: str) -> pd.Series:
    """The first day of the period around a month, in plain calendar arithmetic."""
    months = {"month": 1, "quarter": 3, "half": 6, "year": 12}[kind]
    first = [f"{day.year}-{(day.month - 1) // months * months + 1:02}-01" for day in month]
    return pd.Series(first, index=month.index)


def _counted(rows: pd.DataFrame) -> pd.DataFrame:
    """Memberships counted by unit and every kind of period, as a clerk would with a pivot table."""
    parts = []
    for kind in _KINDS:
        mine = rows[rows.counted_for.isna() | (rows.counted_for == kind)]
        parts.append(mine.assign(period=kind, period_start=_period_start(mine.month, kind)))
    counted = pd.concat(parts).groupby(_KEY).in_numerator.agg(numerator="sum", denominator="size")
    return counted.reset_index()


def _published(night: Night) -> pd.DataFrame:
    rows = night.indicator
    mine = rows[(rows.scope == "unit") & (rows.boundaries == "then") & (rows.denominator > 0)]
    return mine.assign(period_start=mine.period_start.astype(str))[[*_KEY, "numerator", "denominator"]]


def _differences(night: Night, rows: pd.DataFrame, first_month: str) -> pd.DataFrame:
    """Where the two counts differ; months outside those measured are not published."""
    last_month = f"{(night.as_of - pd.Timedelta(microseconds=1)):%Y-%m}-31"
    measured = rows[(rows.month.astype(str) >= first_month) & (rows.month.astype(str) <= last_month)]
    joined = _counted(measured).merge(_published(night), on=_KEY, how="outer", suffixes=("", "_published"))
    same = (joined.numerator == joined.numerator_published) & (joined.denominator == joined.denominator_published)
    return joined[~same]


def test_memberships_summed_are_the_published_counts(two_nights: TwoNights) -> None:
    here, night = two_nights.here, two_nights.second
    first_month = here.province.start_on.replace(day=1).isoformat()
    rows = memberships(here.lake, load_definitions(), as_of=night.as_of).to_pandas()
    assert set(zip(rows.indicator, rows.version, strict=True)) == {one.key for one in load_definitions()}
    found = _differences(night, rows, first_month)
    assert found.empty, found.head(20).to_string()


def test_memberships_of_a_past_night_are_what_it_published(two_nights: TwoNights) -> None:
    here, night = two_nights.here, two_nights.first
    past = PastLake.of(here.lake, night_known_on(here.database, date(2026, 10, 31)))
    rows = memberships(past, load_definitions(), as_of=night.as_of).to_pandas()
    assert _differences(night, rows, here.province.start_on.replace(day=1).isoformat()).empty


def test_a_dossier_is_once_in_a_version_for_each_kind_of_period(two_nights: TwoNights) -> None:
    rows = memberships(two_nights.here.lake, load_definitions(), as_of=two_nights.second.as_of).to_pandas()
    key = ["indicator", "version", "dossier_key", "payment_no", "counted_for"]
    assert not rows.duplicated(key).any()


def test_a_version_has_its_first_and_its_last_day(tmp_path: Path) -> None:
    """Có hiệu lực 10/10 đến 15/10: ngày 9 và 16 không tính; danh sách và số đếm nói như nhau."""
    file = tmp_path / "reuse.short.yaml"
    text = (
        FOLDER.joinpath("reuse.766-4.3.yaml").read_text(encoding="utf-8").replace("version: 766-4.3", "version: short")
    )
    file.write_text(text.replace("valid_from: 2022-06-23", "valid_from: 2026-10-10\nvalid_to: 2026-10-15"), "utf-8")
    definition, lake = load_definition(file), Lake(str(tmp_path / "lake"))
    dossier = {"lake_month": "2026-10", "unit_code": "H15.SNV", "unit_level": "province", "is_received": True}
    days = (9, 10, 15, 16)
    rows = [dossier | {"dossier_key": f"{day}", "received_on": date(2026, 10, day)} for day in days]
    lake.replace(CORE_DOSSIER, table_rows(CORE_DOSSIER, *rows))
    as_of = datetime(2026, 11, 1, tzinfo=UTC)
    found = memberships(lake, (definition,), as_of=as_of)
    assert found["dossier_key"].to_pylist() == ["10", "15"]
    counted = lake.connect(CORE_DOSSIER).sql(f"SELECT sum(d_0) FROM ({counting_statement([definition], as_of=as_of)})")
    assert counted.fetchall() == [(2,)]


def test_a_period_takes_only_its_days(two_nights: TwoNights) -> None:
    here, as_of = two_nights.here, two_nights.second.as_of
    everything = memberships(here.lake, load_definitions(), as_of=as_of).to_pandas()
    days = everything.event_on.astype(str)
    wanted = everything[
        (days >= "2026-07-01") & (days <= "2026-09-30") & everything.counted_for.isin([None, "quarter"])
    ]
    given = memberships(here.lake, load_definitions(), as_of=as_of, period=Period.parse("2026-Q3")).to_pandas()
    assert len(given) == len(wanted) > 0
    assert set(given.dossier_key) == set(wanted.dossier_key)
