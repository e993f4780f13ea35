"""The golden case: wire files in, publication out, against tables that were worked out by hand (case.md).

Why this level: it is the one place where a number can be followed from what three systems said to
what is published, through the public doors only, a real server and a real lake. Each rule has its
own tests elsewhere; here it is seen that together they give what the decisions ask for.
"""

from __future__ import annotations

import csv
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from assets.dossiers.conform import ConformResult, conform
from assets.indicators.assets import measured
from assets.indicators.definitions import load_definitions
from assets.indicators.evaluate import evaluate
from assets.publications.publish import Publication, publish
from assets.raw.extraction import SourceCount, extract
from assets.raw.tables import RAW_TABLES
from assets.scorecards.verdicts import judge
from expectations.targets import load_targets
from orchestration.settings import Home, Province, load_province
from tests.golden.server import WIRE, serving
from warehouse.database import Database
from warehouse.lake import Lake
from warehouse.reference import reference_tables
from warehouse.schema import CODE, COUNT, DAY, FLAG, INSTANT
from warehouse.tables import (
    CORE_DOSSIER,
    CORE_TABLES,
    CORE_UNIT,
    OUT_INDICATOR,
    OUT_VERDICT,
    RAW_QUARANTINE,
)

HERE = Path(__file__).parent
VIETNAM = ZoneInfo("Asia/Ho_Chi_Minh")
#: The nights read 2024-01-01 to 2025-07-31, so facts are known up to the midnight after.
WINDOW = (datetime(2024, 1, 1, tzinfo=VIETNAM), datetime(2025, 8, 1, tzinfo=VIETNAM))
AS_OF = WINDOW[1]
SECRETS = ("PORTAL_USERNAME", "PORTAL_PASSWORD", "ONESTOP_CLIENT_ID", "ONESTOP_CLIENT_SECRET")

Row = dict[str, Any]


@dataclass(frozen=True)
class Night:
    """What one night left."""

    read: Mapping[str, SourceCount]
    conformed: ConformResult
    publication: Publication


@dataclass(frozen=True)
class Golden:
    """The golden province after two nights over the same files."""

    province: Province
    lake: Lake
    first: Night
    second: Night

    def published(self, name: str) -> pa.Table:
        """One file of the first publication."""
        return pq.read_table(self.first.publication.folder / f"{name}.parquet")


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Golden]:
    folder = tmp_path_factory.mktemp("golden")
    with pytest.MonkeyPatch.context() as patch, serving() as address:
        for name in SECRETS:
            patch.setenv(f"THUOCDO_{name}", "golden")
        home = Home.from_environment({"THUOCDO_HOME": str(folder / "home")})
        province = _province(folder, home, address)
        lake, database = Lake(home.lake), Database.open(home.database_url)
        first = _night("first", province, home, lake, database, now=datetime(2025, 8, 1, 2, 0, tzinfo=UTC))
        second = _night("second", province, home, lake, database, now=datetime(2025, 8, 2, 2, 0, tzinfo=UTC))
        yield Golden(province, lake, first, second)


def _province(folder: Path, home: Home, address: str) -> Province:
    """The golden province with its server's address; the message log is copied to where it is dropped."""
    for name in ("departments.csv", "agencies.csv", "codes.csv"):
        shutil.copy(HERE / name, folder)
    text = (HERE / "province.yaml").read_text(encoding="utf-8").replace("http://may-chu-mau.invalid", address)
    (folder / "province.yaml").write_text(text, encoding="utf-8")
    shutil.copytree(WIRE / "messages", home.root / "messages")
    return load_province(folder / "province.yaml", home=home)


def _night(night: str, province: Province, home: Home, lake: Lake, database: Database, *, now: datetime) -> Night:
    """Everything a night does, without Dagster."""
    database.begin_night(night, province_code=province.province_code)
    counts: dict[str, SourceCount] = {}
    for name, source in province.sources.items():
        for count in extract(name, source, window=WINDOW, lake=lake, database=database, night=night, now=now):
            counts[count.source] = count
    calendar = province.working_calendar()
    for table, rows in reference_tables(province.province_code, province.departments, calendar):
        lake.replace(table, rows)
    conformed = conform(lake, database, agencies=province.agencies, codes=province.codes, night=night)
    _measure(province, lake)
    as_of = database.extracted_until(province.sources)
    assert as_of == AS_OF
    publication = publish(
        lake,
        folder=home.published,
        as_of=AS_OF,
        night=night,
        definitions={"/".join(one.key): one.fingerprint for one in load_definitions()},
        cursors=database.cursors(),
    )
    return Night(counts, conformed, publication)


def _measure(province: Province, lake: Lake) -> None:
    indicators = measured(
        lake, province_code=province.province_code, as_of=AS_OF, start_on=province.start_on, sectors=None
    )
    lake.replace(OUT_INDICATOR, indicators)
    verdicts = judge(
        indicators,
        load_targets(province.targets),
        units=lake.read(CORE_UNIT),
        as_of=AS_OF,
        minimum_denominator=province.minimum_denominator,
    )
    lake.replace(OUT_VERDICT, verdicts)


def _expected(name: str) -> list[dict[str, str]]:
    """A table of the case; its leading lines that begin with # are for people."""
    lines = (HERE / name).read_text(encoding="utf-8").splitlines(keepends=True)
    return list(csv.DictReader(line for line in lines if not line.startswith("#")))


def _value(text: str, column: str, table: pa.Schema) -> Any:
    """A cell as the declared type: blank is null, instants are in Vietnam time."""
    kind = table.field(column).type
    if text == "":
        return None
    if kind == FLAG:
        return {"true": True, "false": False}[text]
    if kind in (COUNT, CODE):
        return int(text)
    if kind == DAY:
        return date.fromisoformat(text)
    return datetime.fromisoformat(text).replace(tzinfo=VIETNAM) if kind == INSTANT else text


def _shown(value: Any) -> str:
    """A value as the case's tables write it."""
    if isinstance(value, datetime):
        return f"{value.astimezone(VIETNAM):%Y-%m-%d %H:%M:%S}"
    return "(trống)" if value is None else str(value)


def _differences(expected: Mapping[Any, Row], found: Mapping[Any, Row], *, of: str) -> str:
    """One line per difference, for someone who has case.md open; empty when there is none."""
    lines = [f"{of} {_named(key)}: phải có nhưng không có" for key in expected if key not in found]
    lines += [f"{of} {_named(key)}: không được có: {_row(found[key])}" for key in found if key not in expected]
    lines += [
        f"{of} {_named(key)}, cột {column}: phải là {_shown(value)}, chương trình ra {_shown(found[key][column])}"
        for key, row in expected.items()
        if key in found
        for column, value in row.items()
        if found[key][column] != value
    ]
    return "\n".join(sorted(lines))


def _named(key: Any) -> str:
    return " ".join(_shown(part) for part in key) if isinstance(key, tuple) else _shown(key)


def _row(row: Row) -> str:
    return ", ".join(f"{name}={_shown(value)}" for name, value in row.items())


def _by(rows: Iterable[Row], *names: str) -> dict[Any, Row]:
    listed = list(rows)
    keyed = {tuple(row[name] for name in names): row for row in listed}
    assert len(keyed) == len(listed), f"hai dòng cùng khóa {names}"
    return keyed


def test_published_dossiers_are_those_of_the_case(golden: Golden) -> None:
    table = golden.published("dossier")
    names = [name for name in CORE_DOSSIER.column_names if name != "lake_month"]
    assert table.column_names == names
    expected = [
        {name: _value(row[name], name, table.schema) for name in names} for row in _expected("expected_dossier.csv")
    ]
    difference = _differences(_by(expected, "dossier_key"), _by(table.to_pylist(), "dossier_key"), of="hồ sơ")
    assert not difference, "\n" + difference


_CELL = ("indicator", "version", "scope", "level", "unit_code", "boundaries", "period", "period_start")
_PERIOD_MONTHS = {"month": 1, "quarter": 3, "half": 6, "year": 12}
#: Old units of the case whose whole territory went to one commune of today.
_CAME_FROM = {"H15.643.24118": "H15.24121"}
_Counts = dict[tuple[Any, ...], tuple[int, int]]


def _subjects(unit: str, level: str) -> Iterator[tuple[str, str, str, str]]:
    """(scope, level, unit, boundaries) of every number that a dossier of a unit is counted in."""
    yield "unit", level, unit, "then"
    yield "level", level, "H15", "then"
    yield "province", "all", "H15", "then"
    if level == "commune" and (unit in _CAME_FROM or unit.count(".") == 1):
        yield "unit", level, _CAME_FROM.get(unit, unit), "now"


def _rolled_up(rows: Iterable[dict[str, str]]) -> _Counts:
    """Numerator and denominator of every number of the case: the lists of dossiers, put together.

    What is judged anew at the end of each period has rows of its own for quarters, halves and years.
    """
    listed = list(rows)
    judged = {(row["indicator"], row["version"]) for row in listed if row["period"] != "month"}
    numerators, denominators = Counter[tuple[Any, ...]](), Counter[tuple[Any, ...]]()
    for row in listed:
        version, start = (row["indicator"], row["version"]), date.fromisoformat(row["period_start"])
        for period in (row["period"],) if version in judged else _PERIOD_MONTHS:
            months = _PERIOD_MONTHS[period]
            first = start.replace(month=(start.month - 1) // months * months + 1)
            for subject in _subjects(row["unit_code"], row["level"]):
                cell = (*version, *subject, period, first)
                numerators[cell] += len(row["numerator_dossiers"].split())
                denominators[cell] += len(row["denominator_dossiers"].split())
    return {cell: (numerators[cell], count) for cell, count in denominators.items()}


def test_published_indicators_are_those_of_the_case_and_no_others(golden: Golden) -> None:
    published = golden.published("indicator")
    versions = pa.array([version for _, version in {one.key for one in load_definitions()}])
    of_dossiers = pc.and_(pc.is_in(published["version"], versions), pc.not_equal(published["adds_up"], "no"))
    counted = published.filter(pc.and_(of_dossiers, pc.greater(published["denominator"], 0))).to_pylist()
    expected = [
        dict(zip(_CELL, cell, strict=True))
        | {"numerator": numerator, "denominator": denominator, "rate": numerator / denominator}
        | {"state": "ok", "as_of": AS_OF}
        for cell, (numerator, denominator) in _rolled_up(_expected("expected_indicator.csv")).items()
    ]
    difference = _differences(_by(expected, *_CELL), _by(counted, *_CELL), of="chỉ số")
    assert not difference, "\n" + difference


def test_every_expected_count_is_the_length_of_its_list_of_dossiers() -> None:
    """The working beside a number must be that number's, or nobody can check it by reading."""
    known = {row["case"] for row in _expected("expected_dossier.csv")}
    for row in _expected("expected_indicator.csv"):
        numerator, denominator = row["numerator_dossiers"].split(), row["denominator_dossiers"].split()
        assert (int(row["numerator"]), int(row["denominator"])) == (len(numerator), len(denominator)), row
        assert set(numerator) <= set(denominator) <= known, row


#: The reading examples of case.md, counted there by hand.
_EXAMPLES: dict[tuple[str, ...], tuple[int, int]] = {
    ("online-processing", "766-3.3", "level", "commune", "month", "2025-07-01"): (5, 18),
    ("online-processing", "766-3.3", "province", "all", "year", "2025-01-01"): (7, 25),
    ("online-processing", "766-3.3", "province", "all", "half", "2025-01-01"): (2, 6),
    ("online-processing", "766-3.3", "province", "all", "half", "2025-07-01"): (5, 19),
    ("on-time", "766-2.1", "province", "all", "half", "2025-01-01"): (5, 6),
    ("on-time", "766-2.1", "province", "all", "half", "2025-07-01"): (15, 21),
    ("on-time", "766-2.1", "province", "all", "year", "2025-01-01"): (18, 27),
}


@pytest.mark.parametrize("example", _EXAMPLES, ids=" ".join)
def test_the_reading_examples_are_those_of_the_table(example: tuple[str, ...]) -> None:
    *subject, period, start = example
    cell = (*subject, "H15", "then", period, date.fromisoformat(start))
    assert _rolled_up(_expected("expected_indicator.csv"))[cell] == _EXAMPLES[example]


def test_where_nothing_can_be_measured_no_rate_is_published(golden: Golden) -> None:
    """Every unit of the province has its rows; without a denominator the state says so, never 0 %."""
    published = golden.published("indicator")
    empty = published.filter(pc.equal(published["denominator"], 0))
    facts = empty.select(["numerator", "rate", "state"]).group_by(["numerator", "rate", "state"]).aggregate([])
    assert facts.to_pylist() == [{"numerator": 0, "rate": None, "state": "no_denominator"}]
    rows = empty.select(["unit_code", "period", "period_start"]).to_pydict().values()
    subjects = set(zip(*rows, strict=True))
    # A commune that the case never mentions, and the department in a month in which nothing happened.
    assert ("H15.24154", "month", date(2025, 7, 1)) in subjects
    assert ("H15.STP", "month", date(2024, 5, 1)) in subjects


def test_published_verdicts_on_the_province_are_those_of_the_case(golden: Golden) -> None:
    """One row per target that speaks of the whole province, for the year that is running."""
    table = golden.published("verdict")
    names = ("indicator", "version", "operator", "threshold", "numerator", "denominator", "gap_dossiers", "verdict")
    expected = [
        {"target": row["target"]}
        | {name: float(row[name]) if name == "threshold" else _value(row[name], name, table.schema) for name in names}
        | {"version": row["version"]}
        for row in _expected("expected_verdict.csv")
    ]
    found = [
        {name: row[name] for name in ("target", *names)}
        for row in table.to_pylist()
        if (row["scope"], row["period"], row["period_start"]) == ("province", "year", date(2025, 1, 1))
    ]
    difference = _differences(_by(expected, "target"), _by(found, "target"), of="chỉ tiêu")
    assert not difference, "\n" + difference


@pytest.mark.parametrize(("as_of", "counts"), [("2025-07-31T12:00", (5, 6)), ("2025-08-01T00:00", (5, 7))])
def test_a_promise_counts_once_its_hour_has_come(golden: Golden, as_of: str, counts: tuple[int, int]) -> None:
    """Dossier 25 of unit C, open, is promised for 17:00 on 31 July: at noon it is not yet due, at midnight late."""
    definitions = [one for one in load_definitions() if one.key == ("on-time", "766-2.1-due")]
    instant = datetime.fromisoformat(as_of).replace(tzinfo=VIETNAM)
    place: dict[str, Any] = {"province_code": "H15", "start_on": golden.province.start_on}
    rows = evaluate(golden.lake, definitions, as_of=instant, **place)
    (row,) = rows.filter(
        (pc.field("unit_code") == "H15.24133")
        & (pc.field("boundaries") == "then")
        & (pc.field("period") == "month")
        & (pc.field("period_start") == date(2025, 7, 1))
    ).to_pylist()
    assert (row["numerator"], row["denominator"]) == counts


def test_quarantine_names_what_was_kept_out_and_why(golden: Golden) -> None:
    names = ("stage", "source", "record_key", "reason", "clause")
    expected = _expected("expected_quarantine.csv")
    found = _by(golden.lake.read(RAW_QUARANTINE).to_pylist(), *names)
    wanted = _by(({name: row[name] for name in names} for row in expected), *names)
    difference = _differences(
        wanted, {key: {name: row[name] for name in names} for key, row in found.items()}, of="cách ly"
    )
    assert not difference, "\n" + difference
    for row in expected:
        assert row["named"] in found[tuple(row[name] for name in names)]["detail"], row


def test_every_row_of_the_wire_is_accounted_for(golden: Golden) -> None:
    """(read and not merely seen again, stored, quarantined) of the first night, counted in the files by hand.

    portal: 3 + 1 + 12 records in three lists, less 3010, which has no date and so is in no window; 3022
    breaks the contract. How often a list repeats a record depends on how windows are cut, so what came
    out unchanged is counted for the log only: 1 + 1 + 2 + 1 + 2 + 4 + 3 + 6 messages in eight files, one a
    repetition (dossier 11), one that breaks the contract (21).
    """
    counts = {
        name: (one.rows_read - one.rows_unchanged, one.rows_stored, one.rows_quarantined)
        for name, one in golden.first.read.items()
    }
    assert counts == {"portal": (15, 14, 1), "onestop": (21, 21, 0), "messages": (19, 18, 1), "progress": (9, 9, 0)}
    assert (golden.first.read["messages"].rows_read, golden.first.read["messages"].rows_unchanged) == (20, 1)


def test_a_second_night_over_the_same_files_changes_nothing(golden: Golden) -> None:
    second = golden.second
    assert {name: one.rows_stored for name, one in second.read.items()} == dict.fromkeys(golden.first.read, 0)
    for name in ("portal", "onestop"):
        count, first = second.read[name], golden.first.read[name]
        assert count.rows_unchanged == count.rows_read - first.rows_quarantined
        assert count.rows_unchanged >= first.rows_stored, "the second night did not see every record again"
    assert second.read["messages"].rows_read == 0, "files of the log that were consumed are not read again"
    assert second.conformed.changed == 0
    assert second.conformed.months == ()
    for name in ("dossier", "payment", "indicator", "verdict"):
        before, after = (night.publication.folder / f"{name}.parquet" for night in (golden.first, second))
        assert before.read_bytes() == after.read_bytes(), f"{name}.parquet khác nhau giữa hai đêm"


def test_no_person_of_the_wire_reaches_the_lake(golden: Golden) -> None:
    invented = ("giả định", "999999999999", "0900000000", "gia-dinh", "mot-cua.invalid")
    for table in (*RAW_TABLES.values(), *CORE_TABLES, RAW_QUARANTINE):
        text = repr(golden.lake.read(table).to_pylist()).lower()
        assert not [word for word in invented if word in text], table.name


#: What the README promises: a published rate again, in plain SQL over one file.
_RECOMPUTED = {
    # 3.3 in July 2025 at commune level: filed online, with an electronic result where one is due.
    ("online-processing", "766-3.3", "level", "commune", "month", date(2025, 7, 1)): """
        SELECT count(*) FILTER (WHERE channel = 'online' AND (NOT is_result_required OR has_electronic_result)),
            count(*)
        FROM 'dossier.parquet'
        WHERE is_received AND unit_level = 'commune' AND received_on BETWEEN '2025-07-01' AND '2025-07-31'
    """,
    # 3.6 in the year 2025, the whole province: fee-bearing procedures less dossiers whose fees are all 0.
    ("online-payment", "766-3.6", "province", "all", "year", date(2025, 1, 1)): """
        SELECT count(*) FILTER (WHERE is_paid_online), count(*)
        FROM 'dossier.parquet'
        WHERE is_received AND has_fee AND NOT is_fee_waived AND year(received_on) = 2025
    """,
    # On time among what ended in the third quarter of 2025, the whole province.
    ("on-time", "766-2.1-resolved", "province", "all", "quarter", date(2025, 7, 1)): """
        SELECT count(*) FILTER (WHERE supplement_count <= 1 AND (deadline_at IS NULL OR ended_at <= deadline_at)),
            count(*)
        FROM 'dossier.parquet'
        WHERE end_kind IS NOT NULL AND end_kind <> 'waiting' AND ended_on BETWEEN '2025-07-01' AND '2025-09-30'
    """,
}


@pytest.mark.parametrize("cell", _RECOMPUTED, ids=lambda cell: f"{cell[0]} {cell[1]}")
def test_a_published_rate_can_be_recomputed_in_plain_sql(golden: Golden, cell: tuple[Any, ...]) -> None:
    folder = golden.first.publication.folder
    query = _RECOMPUTED[cell].replace("'dossier.parquet'", f"'{folder / 'dossier.parquet'}'")
    with duckdb.connect() as connection:
        counted = connection.execute(query).fetchone()
    names = ("indicator", "version", "scope", "level", "period", "period_start", "unit_code")
    wanted = [pc.field(name) == value for name, value in zip(names, (*cell, "H15"), strict=True)]
    rows = golden.published("indicator")
    for each in wanted:
        rows = rows.filter(each)
    (row,) = rows.to_pylist()
    assert counted == (row["numerator"], row["denominator"])
    assert row["denominator"] > 0
