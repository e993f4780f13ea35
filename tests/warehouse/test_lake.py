"""The lake through its own doors, on real Delta tables in a folder.

What is held here: what a commit replaces and what it leaves alone, that only rows that fit their
declaration get in, and that what comes out is what went in.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.rows import table_rows
from warehouse.lake import Lake, connect
from warehouse.schema import Table
from warehouse.tables import CORE_PAYMENT, CORE_UNIT, TABLES, raw_table

HANOI = ZoneInfo("Asia/Ho_Chi_Minh")
NESTED = raw_table(
    "raw_nested",
    vi="Thô",
    en="Raw",
    fields=pa.schema([("files", pa.list_(pa.struct([("n", pa.int64()), ("hasFile", pa.bool_())])))]),
)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A lake without any table."""
    return Lake(str(tmp_path / "lake"))


def _payments(*keys: tuple[str, str]) -> pa.Table:
    """Payments as (dossier, month)."""
    return table_rows(CORE_PAYMENT, *({"dossier_key": key, "lake_month": month} for key, month in keys))


def _stored(lake: Lake) -> list[tuple[str, str]]:
    rows = lake.read(CORE_PAYMENT)
    return sorted(zip(rows["dossier_key"].to_pylist(), rows["lake_month"].to_pylist(), strict=True))


def test_append_adds_and_counts(lake: Lake) -> None:
    assert lake.append(CORE_PAYMENT, _payments(("a", "2026-01"))) == 1
    assert lake.append(CORE_PAYMENT, _payments(("b", "2026-01"), ("c", "2026-02"))) == 2
    assert _stored(lake) == [("a", "2026-01"), ("b", "2026-01"), ("c", "2026-02")]
    assert lake.version(CORE_PAYMENT) == 1


def test_appending_nothing_is_no_commit(lake: Lake) -> None:
    assert lake.append(CORE_PAYMENT, _payments()) == 0
    assert lake.version(CORE_PAYMENT) == -1
    assert lake.open(CORE_PAYMENT) is None
    assert lake.written_at(CORE_PAYMENT) is None


def test_replace_leaves_nothing_of_what_was_there(lake: Lake) -> None:
    lake.append(CORE_PAYMENT, _payments(("a", "2026-01"), ("b", "2026-02")))
    assert lake.replace(CORE_PAYMENT, _payments(("c", "2026-03"))) == 1
    assert _stored(lake) == [("c", "2026-03")]
    lake.replace(CORE_PAYMENT, _payments())
    assert _stored(lake) == []


def test_an_older_version_can_still_be_read(lake: Lake) -> None:
    lake.append(CORE_PAYMENT, _payments(("a", "2026-01")))
    lake.replace(CORE_PAYMENT, _payments(("b", "2026-01")))
    old = connect().sql(f"SELECT dossier_key FROM {lake.relation_sql(CORE_PAYMENT, version=0)}").fetchall()
    assert old == [("a",)]


def test_replace_partitions_replaces_the_named_months_only(lake: Lake) -> None:
    lake.append(CORE_PAYMENT, _payments(("a", "2026-01"), ("b", "2026-02"), ("c", "2026-03")))
    kept = set(lake.open(CORE_PAYMENT).file_uris(file_pruning_predicate=[("lake_month", "=", "2026-03")]))  # type: ignore[union-attr]
    written = lake.replace_partitions(CORE_PAYMENT, _payments(("new", "2026-01")), ["2026-01", "2026-02"])
    assert written == 1
    assert _stored(lake) == [("c", "2026-03"), ("new", "2026-01")]
    assert kept < set(lake.open(CORE_PAYMENT).file_uris())  # type: ignore[union-attr]


def test_replace_partitions_with_no_rows_empties_them(lake: Lake) -> None:
    lake.append(CORE_PAYMENT, _payments(("a", "2026-01"), ("b", "2026-02")))
    assert lake.replace_partitions(CORE_PAYMENT, _payments(), ["2026-01"]) == 0
    assert _stored(lake) == [("b", "2026-02")]


def test_replace_no_partitions_is_no_commit(lake: Lake) -> None:
    lake.append(CORE_PAYMENT, _payments(("a", "2026-01")))
    assert lake.replace_partitions(CORE_PAYMENT, _payments(), []) == 0
    assert lake.version(CORE_PAYMENT) == 0


@pytest.mark.parametrize("written_before", [False, True])
def test_replace_partitions_refuses_rows_of_other_months(lake: Lake, written_before: bool) -> None:
    if written_before:
        lake.append(CORE_PAYMENT, _payments(("a", "2026-02")))
    before = _stored(lake)
    with pytest.raises(ValueError, match=r"core_payment: rows of lake_month \['2026-02'\], to be replaced"):
        lake.replace_partitions(CORE_PAYMENT, _payments(("b", "2026-01"), ("c", "2026-02")), ["2026-01"])
    assert _stored(lake) == before


def test_replace_partitions_on_a_table_never_written(lake: Lake) -> None:
    assert lake.replace_partitions(CORE_PAYMENT, _payments(("a", "2026-01")), ["2026-01", "2026-02"]) == 1
    assert _stored(lake) == [("a", "2026-01")]


def test_replace_partitions_needs_a_partition_column(lake: Lake) -> None:
    with pytest.raises(ValueError, match="core_unit has no partition column"):
        lake.replace_partitions(CORE_UNIT, table_rows(CORE_UNIT, {}), ["x"])


def test_partition_values_of_any_text_come_back(lake: Lake) -> None:
    odd = ["20'26", "tháng 1/2026 %", "2026-01"]
    lake.append(CORE_PAYMENT, _payments(*((str(number), value) for number, value in enumerate(odd))))
    lake.replace_partitions(CORE_PAYMENT, _payments(("new", "20'26")), ["20'26"])
    assert {month for _, month in _stored(lake)} == set(odd)
    assert ("0", "20'26") not in _stored(lake)


def test_reading_named_partitions_opens_their_files_only(lake: Lake) -> None:
    lake.append(CORE_PAYMENT, _payments(("a", "2026-01"), ("b", "2026-02"), ("c", "2026-03")))
    relation = lake.relation_sql(CORE_PAYMENT, partitions=["2026-01", "2026-03", "2030-01"])
    assert relation.count(".parquet") == 2
    assert "2026-02" not in relation
    assert sorted(connect().sql(f"SELECT dossier_key FROM {relation}").fetchall()) == [("a",), ("c",)]
    for nothing in ([], ["2030-01"]):
        empty = lake.relation_sql(CORE_PAYMENT, partitions=nothing)
        assert connect().sql(f"SELECT * FROM {empty}").fetchall() == []


def test_few_rows_are_read_from_the_files_that_hold_them(lake: Lake) -> None:
    wanted = "dossier_key IN (SELECT key FROM wanted)"
    connection = connect()
    connection.execute("CREATE TEMP TABLE wanted AS SELECT 'b' AS key")
    assert connection.sql(lake.relation_holding(CORE_PAYMENT, wanted, connection=connection)).fetchall() == []
    lake.append(CORE_PAYMENT, _payments(("a", "2026-01"), ("b", "2026-02")))
    lake.append(CORE_PAYMENT, _payments(("b", "2026-03"), ("c", "2026-03")))
    relation = lake.relation_holding(CORE_PAYMENT, wanted, connection=connection)
    assert relation.count(".parquet") == 2
    found = connection.sql(f"SELECT dossier_key, lake_month FROM {relation} ORDER BY ALL").fetchall()
    assert found == [("b", "2026-02"), ("b", "2026-03"), ("c", "2026-03")]
    nobody = lake.relation_holding(CORE_PAYMENT, "dossier_key = 'd'", connection=connection)
    assert connection.sql(f"SELECT * FROM {nobody}").fetchall() == []


@pytest.mark.parametrize("table", [*TABLES.values(), NESTED], ids=lambda table: str(table.name))
def test_a_table_never_written_reads_as_no_rows_of_the_declared_types(lake: Lake, table: Table) -> None:
    never = lake.read(table)
    assert never.num_rows == 0
    lake.replace(table, table_rows(table))
    emptied = lake.read(table)
    assert emptied.num_rows == 0
    lake.append(table, table_rows(table, {}))
    for rows in (never, emptied, lake.read(table)):
        assert rows.schema.equals(table.arrow_schema(), check_metadata=True)
    assert lake.read(table).to_pylist() == table_rows(table, {}).to_pylist()


def test_nested_values_come_back(lake: Lake) -> None:
    rows = table_rows(NESTED, {"record_key": "a", "files": [{"n": 1, "hasFile": None}, {"n": 2, "hasFile": True}]})
    lake.append(NESTED, rows)
    assert lake.read(NESTED).to_pylist() == rows.to_pylist()


def test_instants_keep_their_moment_whatever_zone_they_come_in(lake: Lake) -> None:
    # 01:30 on 1 February in Vietnam is 18:30 of 31 January in UTC.
    at = datetime(2026, 2, 1, 1, 30, tzinfo=HANOI)
    local = pa.array([at], pa.timestamp("ms", tz="Asia/Ho_Chi_Minh"))
    rows = table_rows(CORE_PAYMENT, {"paid_on": date(2026, 2, 1)})
    place = rows.schema.get_field_index("paid_at")
    lake.append(CORE_PAYMENT, rows.set_column(place, "paid_at", local))
    (stored,) = lake.read(CORE_PAYMENT).select(["paid_at", "paid_on"]).to_pylist()
    assert stored == {"paid_at": datetime(2026, 1, 31, 18, 30, tzinfo=UTC), "paid_on": date(2026, 2, 1)}
    days = lake.connect(CORE_PAYMENT).sql(
        "SELECT paid_at::DATE, (paid_at AT TIME ZONE 'Asia/Ho_Chi_Minh')::DATE FROM core_payment"
    )
    assert days.fetchall() == [(date(2026, 1, 31), date(2026, 2, 1))]


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("paid_at", pa.array([0], pa.timestamp("us")), "paid_at: instants without a zone"),
        ("amount_vnd", pa.array([None], pa.int64()), "amount_vnd: 1 nulls, declared without"),
        ("amount_vnd", pa.array(["0912345678x"]), "amount_vnd: string does not fit int64"),
        ("amount_vnd", pa.array([1.5]), "amount_vnd: double does not fit int64"),
        ("amount_vnd", pa.array([[1]]), "amount_vnd: list.* does not fit int64"),
        ("amount_vnd", None, r"the rows lack the columns \['amount_vnd'\]"),
    ],
)
def test_rows_that_do_not_fit_are_refused_by_table_and_column(
    lake: Lake, column: str, values: pa.Array | None, message: str
) -> None:
    rows = table_rows(CORE_PAYMENT, {}).drop_columns([column])
    if values is not None:
        rows = rows.append_column(column, values)
    with pytest.raises(ValueError, match=f"table core_payment.*{message}") as raised:
        lake.append(CORE_PAYMENT, rows)
    assert "0912345678x" not in str(raised.getrepr(style="value"))
    assert lake.version(CORE_PAYMENT) == -1


def test_columns_may_come_in_any_order_and_in_narrower_types(lake: Lake) -> None:
    rows = table_rows(CORE_PAYMENT, {"amount_vnd": 8000})
    shuffled = rows.select(list(reversed(rows.column_names)))
    place = shuffled.schema.get_field_index("amount_vnd")
    lake.append(CORE_PAYMENT, shuffled.set_column(place, "amount_vnd", pa.array([8000], pa.int32())))
    assert lake.read(CORE_PAYMENT).to_pylist() == rows.to_pylist()


def test_rows_lie_in_declared_order_within_a_file(lake: Lake) -> None:
    lake.append(CORE_PAYMENT, _payments(("c", "2026-01"), ("a", "2026-01"), ("b", "2026-01")))
    (file,) = Path(lake.uri(CORE_PAYMENT)).rglob("*.parquet")
    with pq.ParquetFile(file) as opened:
        assert opened.read(["dossier_key"])["dossier_key"].to_pylist() == ["a", "b", "c"]


def test_a_view_stays_at_its_version_while_others_write(lake: Lake) -> None:
    lake.append(CORE_PAYMENT, _payments(("a", "2026-01")))
    connection = lake.connect(CORE_PAYMENT)
    lake.replace(CORE_PAYMENT, _payments(("b", "2026-01"), ("c", "2026-01")))
    assert connection.sql("SELECT dossier_key FROM core_payment").fetchall() == [("a",)]


def test_the_fingerprint_follows_content_not_files(lake: Lake, tmp_path: Path) -> None:
    other = Lake(str(tmp_path / "other"))
    lake.append(CORE_PAYMENT, _payments(("a", "2026-01"), ("b", "2026-01")))
    other.append(CORE_PAYMENT, _payments(("b", "2026-01")))
    before = other.fingerprint(CORE_PAYMENT)
    other.append(CORE_PAYMENT, _payments(("a", "2026-01")))
    assert other.fingerprint(CORE_PAYMENT) == lake.fingerprint(CORE_PAYMENT) != before


def test_a_note_is_kept_with_the_commit(lake: Lake) -> None:
    start = datetime.now(UTC).replace(microsecond=0)
    lake.append(CORE_PAYMENT, _payments(("a", "2026-01")), note={"night": "n1"})
    assert lake.open(CORE_PAYMENT).history(1)[0]["night"] == "n1"  # type: ignore[union-attr]
    assert start <= lake.written_at(CORE_PAYMENT) <= datetime.now(UTC)  # type: ignore[operator]


@pytest.mark.parametrize("name", ["dữ liệu của tỉnh", "a'b", "a+b&c", "#1"])
def test_folders_of_any_usual_name_work(tmp_path: Path, name: str) -> None:
    lake = Lake(str(tmp_path / name))
    lake.append(CORE_PAYMENT, _payments(("a", "2026-01"), ("b", "2026-02")))
    assert _stored(lake) == [("a", "2026-01"), ("b", "2026-02")]
    pruned = lake.relation_sql(CORE_PAYMENT, partitions=["2026-02"])
    assert connect().sql(f"SELECT dossier_key FROM {pruned}").fetchall() == [("b",)]


@pytest.mark.parametrize("name", ["100%", "a*", "what?", "[1]", "a^b", "a|b", "a\\b"])
def test_folders_that_could_not_be_read_back_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="choose another THUOCDO_HOME"):
        Lake(str(tmp_path / name))


def test_rows_that_are_there_already_are_not_written_again(lake: Lake) -> None:
    rows = _payments(("a", "2026-01"), ("b", "2026-02"))
    assert lake.replace_if_different(CORE_PAYMENT, rows)
    version = lake.version(CORE_PAYMENT)
    assert not lake.replace_if_different(CORE_PAYMENT, rows.take([1, 0]))
    assert lake.version(CORE_PAYMENT) == version
    assert lake.replace_if_different(CORE_PAYMENT, rows.slice(0, 1))
    assert _stored(lake) == [("a", "2026-01")]
