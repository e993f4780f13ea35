"""Statements as indicators: sums that are whole or not there, periods, corrections, what was known when.

The small province has two communes and two departments, so that every sum can be made in the head;
the properties hold the SQL to plain Python that reads the rules again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import openpyxl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.indicators.observed import (
    FILE,
    ObservedError,
    figures_of,
    observation_rows,
    observed_indicators,
)
from assets.indicators.observed_assets import observation_asset
from connectors.observation_statements import Book
from expectations.suites import load_suite
from tests.rows import table_rows
from warehouse.lake import Lake, connect
from warehouse.tables.core import CORE_UNIT
from warehouse.tables.observation import CORE_OBSERVATION
from warehouse.tables.out import OUT_INDICATOR
from warehouse.tables.raw import RAW_QUARANTINE

#: Midnight in Vietnam: 31 December 2026 is the last day that is over.
AS_OF = datetime(2026, 12, 31, 17, tzinfo=UTC)
FLOW, STOCK, SHARE, NUMBER = "work-files-online", "systems-operated", "satisfaction-procedures", "dossiers-reported"


def unit(code: str, level: str, **more: Any) -> dict[str, Any]:
    fixed = {"province_code": "H15", "valid_from": date(1900, 1, 1), "parent_code": "H15", "name": code}
    return fixed | {"unit_code": code, "level": level} | more


UNITS = table_rows(
    CORE_UNIT,
    unit("H15", "province", parent_code=None),
    unit("H15.A", "province"),
    unit("H15.B", "province"),
    unit("H15.1", "commune", valid_from=date(2025, 7, 1)),
    unit("H15.2", "commune", valid_from=date(2025, 7, 1)),
    unit("H15.9", "district", valid_to=date(2025, 6, 30)),
    unit("H15.9.1", "commune", valid_to=date(2025, 6, 30)),
)
LEVEL = {"H15.A": "province", "H15.B": "province", "H15.1": "commune", "H15.2": "commune", "H15.9": "district",
         "H15.9.1": "commune"}  # fmt: skip


def said(
    code: str,
    start: str,
    numerator: int | None,
    denominator: int | None,
    *,
    indicator: str = FLOW,
    period: str = "month",
    stated: str = "2026-12-31",
    value: float | None = None,
    scope: tuple[str, str] | None = None,
    received: datetime = AS_OF,
) -> dict[str, Any]:
    """A statement; `start` is yyyy-mm, `scope` scope and level for the province's own code."""
    kind, level = scope or ("unit", LEVEL[code])
    row = {
        "indicator": indicator,
        "scope": kind,
        "level": level,
        "unit_code": code,
        "period": period,
        "period_start": date.fromisoformat(f"{start}-01"),
        "numerator": numerator,
        "denominator": denominator,
        "value": value,
        "stated_on": date.fromisoformat(stated),
        "received_at": received,
    }
    return row | {"content_hash": str(sorted(row.items(), key=lambda item: item[0]))}


def table(*rows: Mapping[str, Any]) -> pa.Table:
    return table_rows(CORE_OBSERVATION, *rows)


def figures(*rows: Mapping[str, Any], as_of: datetime = AS_OF, known_at: datetime | None = None) -> dict[str, str]:
    """Every figure, e.g. {"H15/commune 2026-10 month": "7/9"}; the unit's level is left out."""
    made = observation_rows(table(*rows), UNITS, as_of=as_of, known_at=known_at)
    found = {}
    for row in made.to_pylist():
        subject = row["unit_code"] if row["scope"] == "unit" else f"H15/{row['level']}"
        counts = f"{row['numerator']}/{row['denominator']}"
        text = f"{row['rate']:g}" if row["denominator"] is None else counts
        found[f"{subject} {row['period_start']:%Y-%m} {row['period']}"] = text
    return found


OCTOBER = (
    said("H15.1", "2026-10", 3, 4),
    said("H15.2", "2026-10", 4, 5),
    said("H15.A", "2026-10", 1, 10),
    said("H15.B", "2026-10", 2, 10),
)


def test_a_level_has_a_sum_when_all_its_units_have_stated_and_the_province_when_all_levels_have() -> None:
    assert figures(*OCTOBER) == {
        "H15.1 2026-10 month": "3/4",
        "H15.2 2026-10 month": "4/5",
        "H15.A 2026-10 month": "1/10",
        "H15.B 2026-10 month": "2/10",
        "H15/commune 2026-10 month": "7/9",
        "H15/province 2026-10 month": "3/20",
        "H15/all 2026-10 month": "10/29",
    }


def test_one_silent_unit_leaves_no_sum_and_is_named() -> None:
    partial = OCTOBER[1:]
    assert set(figures(*partial)) == {
        "H15.2 2026-10 month",
        "H15.A 2026-10 month",
        "H15.B 2026-10 month",
        "H15/province 2026-10 month",
    }
    assert figures_of(table(*partial), UNITS, as_of=AS_OF).gaps.to_pylist() == [
        {
            "indicator": FLOW,
            "level": "commune",
            "period": "month",
            "period_start": date(2026, 10, 1),
            "unit_count": 2,
            "stated_count": 1,
            "missing_count": 1,
            "missing_units": ["H15.1"],
        }
    ]


def test_a_level_stated_as_such_wins_over_its_units_and_a_difference_is_told() -> None:
    whole = said("H15", "2026-10", 6, 9, scope=("level", "commune"))
    found = figures(*OCTOBER, whole)
    assert found["H15/commune 2026-10 month"] == "6/9"
    assert found["H15/all 2026-10 month"] == "9/29"
    told = figures_of(table(*OCTOBER, whole), UNITS, as_of=AS_OF).contradictions.to_pylist()
    assert [
        (row["scope"], row["level"], row["against"], row["numerator"], row["summed_numerator"]) for row in told
    ] == [("level", "commune", "units", 6, 7)]
    # Where it agrees, and where a unit is silent, nothing contradicts.
    agreeing = said("H15", "2026-10", 7, 9, scope=("level", "commune"))
    assert figures_of(table(*OCTOBER, agreeing), UNITS, as_of=AS_OF).contradictions.num_rows == 0
    assert figures_of(table(*OCTOBER[1:], whole), UNITS, as_of=AS_OF).contradictions.num_rows == 0
    assert figures_of(table(*OCTOBER[1:], whole), UNITS, as_of=AS_OF).gaps.num_rows == 0


def test_months_give_a_quarter_only_when_all_three_are_there() -> None:
    months = [said("H15.1", f"2026-{month:02}", 1, 2) for month in range(1, 12)]
    found = figures(*months)
    assert found["H15.1 2026-01 quarter"] == "3/6"
    assert found["H15.1 2026-01 half"] == "6/12"
    assert "H15.1 2026-10 quarter" not in found
    assert "H15.1 2026-07 half" not in found
    assert "H15.1 2026-01 year" not in found
    assert figures(*months, said("H15.1", "2026-12", 1, 2))["H15.1 2026-01 year"] == "12/24"
    # A quarter stated as such stands for its months.
    assert figures(*months, said("H15.1", "2026-10", 5, 7, period="quarter"))["H15.1 2026-01 year"] == "14/25"


def test_a_stated_year_that_differs_from_its_months_is_told() -> None:
    months = [said("H15.1", f"2026-{month:02}", 1, 2) for month in range(1, 13)]
    year = said("H15.1", "2026-01", 11, 24, period="year")
    assert figures(*months, year)["H15.1 2026-01 year"] == "11/24"
    told = figures_of(table(*months, year), UNITS, as_of=AS_OF).contradictions.to_pylist()
    assert [(row["unit_code"], row["period"], row["against"]) for row in told] == [("H15.1", "year", "periods")]


def test_a_unit_owes_only_the_months_in_which_it_lived() -> None:
    first = [said("H15.9.1", f"2025-{month:02}", 1, 2) for month in range(1, 7)]
    second = [said(code, f"2025-{month:02}", 1, 3) for code in ("H15.1", "H15.2") for month in range(7, 13)]
    found = figures(*first, *second)
    assert found["H15.9.1 2025-01 year"] == "6/12"
    assert found["H15.1 2025-01 year"] == "6/18"
    # 2025 is two half-years summed by counts: 6 + 6 + 6 of 12 + 18 + 18.
    assert found["H15/commune 2025-01 half"] == "6/12"
    assert found["H15/commune 2025-07 half"] == "12/36"
    assert found["H15/commune 2025-01 year"] == "18/48"
    # One month of the old commune is missing: no year for the level, the second half stands.
    without = figures(*first[1:], *second)
    assert "H15/commune 2025-01 year" not in without
    assert without["H15/commune 2025-07 half"] == "12/36"


def test_a_stock_carries_the_last_figure_inside_a_period() -> None:
    rows = [
        said("H15.1", "2026-02", 1, 10, indicator=STOCK),
        said("H15.1", "2026-05", 2, 10, indicator=STOCK),
        said("H15.2", "2026-03", 5, 10, indicator=STOCK),
    ]
    found = figures(*rows)
    assert found["H15.1 2026-01 quarter"] == "1/10"
    assert found["H15.1 2026-01 half"] == "2/10"
    assert found["H15.1 2026-01 year"] == "2/10"
    assert found["H15/commune 2026-01 quarter"] == "6/20"
    assert found["H15/commune 2026-01 year"] == "7/20"
    assert "H15/commune 2026-02 month" not in found
    # A stock stated for the year itself is newer than any month inside, and no contradiction.
    year = said("H15.1", "2026-01", 9, 10, indicator=STOCK, period="year")
    assert figures(*rows, year)["H15/commune 2026-01 year"] == "14/20"
    assert figures_of(table(*rows, year), UNITS, as_of=AS_OF).contradictions.num_rows == 0


def test_a_stock_is_not_added_to_what_took_it_over() -> None:
    rows = [
        said("H15.9.1", "2025-05", 90, 100, indicator=STOCK),
        said("H15.1", "2025-12", 40, 60, indicator=STOCK),
        said("H15.2", "2025-12", 50, 60, indicator=STOCK),
    ]
    assert figures(*rows)["H15/commune 2025-01 year"] == "90/120"


def test_an_index_is_neither_summed_nor_carried() -> None:
    rows = [
        said("H15.1", "2026-10", None, None, indicator=SHARE, value=0.9),
        said("H15.2", "2026-10", None, None, indicator=SHARE, value=0.8),
        said("H15", "2025-01", None, None, indicator=SHARE, value=0.955, period="year", scope=("province", "all")),
    ]
    assert figures(*rows) == {
        "H15.1 2026-10 month": "0.9",
        "H15.2 2026-10 month": "0.8",
        "H15/all 2025-01 year": "0.955",
    }


def test_a_number_adds_up_like_counts_and_stays_a_value() -> None:
    rows = [
        said(code, f"2026-{month:02}", None, None, indicator=NUMBER, value=10.0 * month)
        for code in ("H15.1", "H15.2", "H15.A", "H15.B")
        for month in (7, 8, 9)
    ]
    found = figures(*rows)
    assert found["H15.1 2026-07 quarter"] == "240"
    assert found["H15/commune 2026-07 quarter"] == "480"
    assert found["H15/all 2026-07 quarter"] == "960"


def test_rows_are_shaped_like_every_other_indicator() -> None:
    rows = observation_rows(table(*OCTOBER, said("H15.1", "2026-11", 0, 0)), UNITS, as_of=AS_OF)
    assert rows.schema.equals(OUT_INDICATOR.arrow_schema())
    months = [row for row in rows.to_pylist() if row["unit_code"] == "H15.1" and row["period"] == "month"]
    by_month = {row["period_start"]: row for row in months}
    first, empty = by_month[date(2026, 10, 1)], by_month[date(2026, 11, 1)]
    assert (first["version"], first["boundaries"], first["rate"], first["state"]) == ("observed", "then", 0.75, "ok")
    assert (empty["rate"], empty["state"]) == (None, "no_denominator")
    assert {row["as_of"] for row in rows.to_pylist()} == {AS_OF}
    key = [tuple(row[name] for name in OUT_INDICATOR.key) for row in rows.to_pylist()]
    assert len(set(key)) == len(key)


def test_no_statement_gives_no_row() -> None:
    assert observation_rows(table(), UNITS, as_of=AS_OF).num_rows == 0


def test_the_newest_statement_counts_and_the_older_one_as_it_was_known_then() -> None:
    november = datetime(2026, 11, 5, 18, tzinfo=UTC)
    december = november + timedelta(days=30)
    first = said("H15.1", "2026-10", 3, 4, stated="2026-11-05", received=november)
    mended = said("H15.1", "2026-10", 2, 4, stated="2026-12-01", received=december)
    key = "H15.1 2026-10 month"
    assert figures(first, mended)[key] == "2/4"
    assert figures(mended, first)[key] == "2/4"
    assert figures(first, mended, known_at=december - timedelta(seconds=1))[key] == "3/4"
    assert figures(first, mended, known_at=november - timedelta(seconds=1)) == {}
    # An older statement that arrives late does not come over a newer one.
    late = said("H15.1", "2026-10", 1, 4, stated="2026-11-20", received=AS_OF)
    assert figures(first, mended, late)[key] == "2/4"
    # Of two statements of one day, the one received later is the correction.
    same_day = said("H15.1", "2026-10", 4, 4, stated="2026-12-01", received=december + timedelta(days=1))
    assert figures(first, mended, same_day)[key] == "4/4"


def test_what_was_stated_after_the_instant_does_not_count() -> None:
    row = said("H15.1", "2026-10", 3, 4, stated="2026-11-05")
    # 5 November begins in Vietnam at 17:00 UTC of the day before; that instant still ends the 4th.
    begins = datetime(2026, 11, 4, 17, tzinfo=UTC)
    assert figures(row, as_of=begins) == {}
    assert len(figures(row, as_of=begins + timedelta(seconds=1))) == 1
    with pytest.raises(ValueError, match="zone"):
        observation_rows(table(row), UNITS, as_of=datetime(2026, 11, 6))  # noqa: DTZ001  the very mistake


_MONTHS = [date(2026, month, 1) for month in range(1, 13)]
_CODES = ("H15.1", "H15.2", "H15.A", "H15.B")


def _by_hand(counts: Mapping[tuple[str, date], tuple[int, int]]) -> dict[tuple[str, str, date], tuple[int, int]]:
    """Every figure of 2026 by the rules, in plain Python: subject, period, first day → counts."""
    subjects = {code: [code] for code in _CODES}
    subjects |= {"H15/commune": ["H15.1", "H15.2"], "H15/province": ["H15.A", "H15.B"], "H15/all": list(_CODES)}
    spans = {"month": 1, "quarter": 3, "half": 6, "year": 12}
    found = {}
    for subject, codes in subjects.items():
        for period, length in spans.items():
            for first in range(0, 12, length):
                wanted = [(code, month) for code in codes for month in _MONTHS[first : first + length]]
                if all(each in counts for each in wanted):
                    sums = (sum(counts[each][i] for each in wanted) for i in (0, 1))
                    found[subject, period, _MONTHS[first]] = (next(sums), next(sums))
    return found


@st.composite
def _statements(draw: st.DrawFn) -> dict[tuple[str, date], tuple[int, int]]:
    """Counts per unit and month with a few holes, so that whole and partial sums both occur."""
    holes = draw(st.sets(st.tuples(st.sampled_from(_CODES), st.sampled_from(_MONTHS)), max_size=4))
    numbers = draw(st.lists(st.integers(0, 50), min_size=48, max_size=48))
    places = [(code, month) for code in _CODES for month in _MONTHS]
    return {place: (number, number + 3) for place, number in zip(places, numbers, strict=True) if place not in holes}


@settings(max_examples=5)
@given(_statements())
def test_flows_agree_with_the_rules_in_plain_python(counts: Mapping[tuple[str, date], tuple[int, int]]) -> None:
    rows = [said(code, f"{month:%Y-%m}", *pair) for (code, month), pair in counts.items()]
    made = figures_of(table(*rows), UNITS, as_of=AS_OF)
    found = {
        (row["unit_code"] if row["scope"] == "unit" else f"H15/{row['level']}", row["period"], row["period_start"]): (
            row["numerator"],
            row["denominator"],
        )
        for row in made.rows.to_pylist()
    }
    assert found == _by_hand(counts)
    assert made.contradictions.num_rows == 0


@settings(max_examples=3)
@given(_statements(), st.randoms(use_true_random=False))
def test_the_order_of_statements_and_a_second_copy_change_nothing(counts: Any, random: Any) -> None:
    rows = [said(code, f"{month:%Y-%m}", *pair) for (code, month), pair in counts.items()]
    corrections = [row | {"numerator": 0, "stated_on": date(2026, 12, 30)} for row in rows[:5]]
    shuffled = [*rows, *corrections]
    random.shuffle(shuffled)
    assert observation_rows(table(*rows, *corrections), UNITS, as_of=AS_OF).equals(
        observation_rows(table(*shuffled), UNITS, as_of=AS_OF)
    )


def test_the_dictionary_fits_what_the_connector_asks_for() -> None:
    book = Book(observed_indicators(), UNITS, now=AS_OF)
    assert set(book.indicators) == {each.id for each in observed_indicators()}
    assert {each.kind for each in observed_indicators()} == {"counts", "value", "rank"}


def test_the_dictionary_answers_every_target_and_score_that_awaits_an_observation() -> None:
    known = {each.id for each in observed_indicators()}
    root = FILE.parents[2]
    asked = {
        line.split(",")[1]
        for path in (root / "expectations" / "targets").glob("*.csv")
        for line in path.read_text(encoding="utf-8").splitlines()
        if ",observed," in line
    }
    assert asked
    assert asked <= known


def test_a_dictionary_that_cannot_be_used_names_line_and_column(tmp_path: Path) -> None:
    text = FILE.read_text(encoding="utf-8").splitlines()
    broken = tmp_path / "observed.csv"
    row = text[1].replace(",M,", ",X,").replace(",stock,", ",often,").replace("commune;all", "commune;ward")
    broken.write_text("\n".join([text[0], row, text[2], text[2]]), encoding="utf-8")
    with pytest.raises(ObservedError) as raised:
        observed_indicators(broken)
    told = str(raised.value).splitlines()
    assert [line.partition(" is ")[0] for line in told] == [
        "observed.csv, line 2: source_class: 'X'",
        "observed.csv, line 2: nature: 'often'",
        "observed.csv, line 2: levels: 'ward'",
        "observed.csv, line 4: id: certified-copy-communes",
    ]


def test_shares_and_ranks_cannot_be_flows() -> None:
    share = next(each for each in observed_indicators() if each.id == SHARE)
    assert not share.is_additive
    assert replace(share, scale="number").is_additive


SUITE = load_suite(CORE_OBSERVATION)
SPOILT = {
    "counts_or_value": "value = 0.5",
    "first_day_of_its_period": "period = 'quarter', period_start = DATE '2026-11-01'",
    "stated_within_its_time": "stated_on = DATE '2026-09-30'",
    "scope_of_its_unit": "unit_code = 'H15'",
    "unit_living_in_the_period": "unit_code = 'H15.9'",
}


@pytest.mark.parametrize("rule", [each.id for each in SUITE.expectations if each.query and each.group == "identities"])
def test_each_rule_of_the_suite_holds_here_and_catches_its_defect(rule: str) -> None:
    query = next(str(each.query) for each in SUITE.expectations if each.id == rule)
    connection = connect()
    connection.register("core_unit", UNITS)
    connection.register("given_rows", table(*OCTOBER, said("H15.1", "2026-10", None, None, indicator=SHARE, value=0.9)))
    connection.execute("CREATE TABLE core_observation AS SELECT * FROM given_rows")
    assert connection.sql(query).fetchall() == []
    connection.execute(f"UPDATE core_observation SET {SPOILT[rule]} WHERE unit_code = 'H15.1' AND value IS NULL")
    assert len(connection.sql(query).fetchall()) == 1


class Trail:
    """Stands for the database and the watcher of a night, as far as the asset speaks to them."""

    def __init__(self) -> None:
        self.counts: list[Mapping[str, Any]] = []
        self.said: list[str] = []

    def record_counts(self, night: str, **counts: Any) -> None:  # noqa: ARG002  as the database takes it
        self.counts.append(counts)

    def say(self, text: str) -> None:
        self.said.append(text)


class Stores:
    """A home with a lake alone."""

    night = "n1"

    def __init__(self, root: Path) -> None:
        self.home = Lake(str(root / "lake"))
        self.watcher = self.trail = Trail()

    def lake(self) -> Lake:
        return self.home

    def database(self) -> Trail:
        return self.trail


def _night(stores: Stores, folder: Path) -> dg.ExecuteInProcessResult:
    asset = observation_asset(folder, {}, settle_seconds=-60)
    return dg.materialize([asset], resources={"stores": dg.ResourceDefinition.hardcoded_resource(stores)})


def _file(path: Path, *rows: Iterable[Any]) -> None:
    book = openpyxl.Workbook()
    page = book.active
    assert page is not None
    names = ("indicator", "unit_code", "period", "numerator", "denominator", "evidence", "vouched_by_role", "stated_on")
    for row in (names, *rows):
        page.append(list(row))
    book.save(path)


def test_a_night_appends_what_is_new_and_quarantines_what_is_wrong(tmp_path: Path) -> None:
    stores, folder = Stores(tmp_path), tmp_path / "so-lieu"
    folder.mkdir()
    stores.home.replace(CORE_UNIT, UNITS)
    sound = (FLOW, "H15.1", "2026-01", 3, 4, "1/BC", "Chủ tịch UBND xã", "2026-02-03")
    _file(folder / "a.xlsx", sound, (FLOW, "H15.2", "2026-01", 5, 4, "1/BC", "Chủ tịch UBND xã", "2026-02-03"))
    assert _night(stores, folder).success
    stored, version = stores.home.read(CORE_OBSERVATION), stores.home.version(CORE_OBSERVATION)
    assert stored["unit_code"].to_pylist() == ["H15.1"]
    quarantined = stores.home.read(RAW_QUARANTINE).to_pylist()
    assert [(row["stage"], row["source"], row["reason"]) for row in quarantined] == [
        ("extract", "observations", "numerator_above_denominator")
    ]
    # The same files another night: nothing is written, and the books say so.
    result = _night(stores, folder)
    assert (stores.home.version(CORE_OBSERVATION), stores.home.read(RAW_QUARANTINE).num_rows) == (version, 1)
    books = [{name: counts[name] for name in counts if name.startswith("rows_")} for counts in stores.trail.counts]
    assert books == [
        {"rows_read": 2, "rows_stored": 1, "rows_unchanged": 0, "rows_quarantined": 1},
        {"rows_read": 2, "rows_stored": 0, "rows_unchanged": 1, "rows_quarantined": 1},
    ]
    shown = result.asset_materializations_for_node("observe")[0].metadata
    assert shown["levels_incomplete"].value == 1
    assert "thiếu 1 trong 2 đơn vị" in str(shown["what_is_missing"].value)
    # A correction is appended; both stand in the table, the newer one counts.
    _file(folder / "b.xlsx", (*sound[:3], 4, *sound[4:7], "2026-02-04"))
    _night(stores, folder)
    both = stores.home.read(CORE_OBSERVATION)
    assert sorted(both["numerator"].to_pylist()) == [3, 4]
    rows = observation_rows(both, UNITS, as_of=AS_OF).to_pylist()
    assert [row["numerator"] for row in rows if row["period"] == "month"] == [4]
