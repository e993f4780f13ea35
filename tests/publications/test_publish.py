"""What a publication holds, read by the tools that read it: pandas, DuckDB and plain Arrow.

Whole publications from whole lakes, because what counts is what a reader of the folder sees.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake

from assets.publications.manifest import read_manifest, verify
from assets.publications.publish import PublicationRefusedError, publish
from assets.publications.tables import PUBLISHED
from tests.publications.lakes import AS_OF, publish_small, small_lake
from tests.rows import table_rows
from warehouse.lake import Lake
from warehouse.tables import CORE_DOSSIER, CORE_PAYMENT, CORE_UNIT, OUT_INDICATOR

#: What a reader is promised: figures and judgements first, then what they are made of.
NAMES = (
    "indicator",
    "verdict",
    "outlook",
    "score",
    "score_total",
    "evaluation",
    "statistic",
    "worklist",
    "reconciliation",
    "observation",
    "dossier",
    "payment",
    "supplement",
    "unit",
    "succession",
    "procedure",
    "calendar",
)


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    """A publication of three dossiers, one indicator with a rate and one without denominator."""
    lake = Lake(str(tmp_path / "lake"))
    # 18:30 UTC on 31 January is 01:30 on 1 February in Vietnam.
    late = datetime(2026, 1, 31, 18, 30, tzinfo=UTC)
    lake.append(
        CORE_DOSSIER,
        table_rows(
            CORE_DOSSIER,
            {"dossier_key": "c", "unit_code": "H15.24133", "received_on": None, "lake_month": "2026-02"},
            {"dossier_key": "b", "unit_code": "H15.24133", "received_on": date(2026, 2, 1), "received_at": late},
            {"dossier_key": "a", "unit_code": "H15.24134", "received_on": date(2026, 1, 5), "dossier_code": "000.01"},
        ),
    )
    measured = {"indicator": "online", "version": "1", "unit_code": "H15", "as_of": AS_OF}
    lake.replace(
        OUT_INDICATOR,
        table_rows(
            OUT_INDICATOR,
            measured | {"period_start": date(2026, 2, 1), "numerator": 0, "denominator": 0, "state": "no_denominator"},
            measured | {"period_start": date(2026, 1, 1), "numerator": 1, "denominator": 4, "rate": 0.25},
        ),
    )
    publish_small(lake, tmp_path)
    return tmp_path / "published"


def test_duckdb_reads_rows_in_declared_order_and_types(golden: Path) -> None:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        dossiers = connection.sql(
            f"SELECT dossier_key, dossier_code, received_on, received_at FROM '{golden}/dossier.parquet'"
        ).fetchall()
        described = connection.sql(f"SELECT column_name, column_type FROM (DESCRIBE '{golden}/dossier.parquet')")
        types = dict(described.fetchall())
    # By unit, then by day with the unknown day last, then by key.
    assert [row[:3] for row in dossiers] == [
        ("b", None, date(2026, 2, 1)),
        ("c", None, None),
        ("a", "000.01", date(2026, 1, 5)),
    ]
    assert dossiers[0][3] == datetime(2026, 1, 31, 18, 30, tzinfo=UTC)
    expected = {"received_at": "TIMESTAMP WITH TIME ZONE", "received_on": "DATE", "status_code": "SMALLINT"}
    expected |= {"dossier_key": "VARCHAR", "is_received": "BOOLEAN", "supplement_count": "BIGINT"}
    assert {name: types[name] for name in expected} == expected
    assert "lake_month" not in types


def test_pandas_reads_rate_null_without_denominator(golden: Path) -> None:
    frame = pd.read_parquet(golden / "indicator.parquet")
    assert list(frame.columns) == list(OUT_INDICATOR.column_names)
    assert frame["period_start"].tolist() == [date(2026, 1, 1), date(2026, 2, 1)]
    assert frame["numerator"].tolist() == [1, 0]
    assert str(frame["numerator"].dtype) == str(frame["denominator"].dtype) == "int64"
    assert frame["rate"][0] == 0.25
    assert pd.isna(frame["rate"][1])
    assert frame["state"].tolist() == ["ok", "no_denominator"]
    assert frame["as_of"][0] == pd.Timestamp("2026-02-28 18:00", tz="UTC")


@pytest.mark.parametrize("one", PUBLISHED, ids=lambda one: str(one.table.name))
def test_schema_is_the_declared_one_even_without_rows(golden: Path, one: object) -> None:
    published = next(candidate for candidate in PUBLISHED if candidate is one)
    schema = pq.read_schema(golden / published.file_name)
    assert schema.equals(published.table.arrow_schema(), check_metadata=True)
    assert {str(kind) for kind in schema.types} <= {
        "string", "bool", "int16", "int64", "double", "date32[day]", "timestamp[us, tz=UTC]",
    }  # fmt: skip
    assert schema.field(0).metadata[b"vi"].decode() == published.table.columns[0].vi


def test_published_tables_are_the_promised_ones() -> None:
    assert tuple(one.table.name for one in PUBLISHED) == NAMES
    assert PUBLISHED[0].table.columns == OUT_INDICATOR.columns


def test_an_empty_lake_publishes_empty_tables(tmp_path: Path) -> None:
    publication = publish_small(Lake(str(tmp_path / "lake")), tmp_path)
    assert {name: facts.rows for name, facts in publication.tables.items()} == dict.fromkeys(NAMES, 0)
    assert verify(tmp_path / "published") == []
    assert pd.read_parquet(tmp_path / "published" / "unit.parquet").empty


def test_row_groups_let_a_filter_skip_most_of_a_large_file(tmp_path: Path) -> None:
    rows = 250_001
    some = table_rows(CORE_PAYMENT, {"lake_month": "2026-01"})
    numbers = pa.array(range(rows), pa.int64())
    columns = {name: pa.repeat(some[name][0], rows) for name in CORE_PAYMENT.column_names}
    columns["dossier_key"] = pc.utf8_lpad(pc.cast(pc.subtract(rows, numbers), pa.string()), 7, "0")
    lake = Lake(str(tmp_path / "lake"))
    lake.append(CORE_PAYMENT, pa.table(columns))
    publish_small(lake, tmp_path)
    with pq.ParquetFile(tmp_path / "published" / "payment.parquet") as file:
        groups = [file.metadata.row_group(index) for index in range(file.metadata.num_row_groups)]
        keys = [(group.column(0).statistics.min, group.column(0).statistics.max) for group in groups]
    assert [group.num_rows for group in groups] == [100_000, 100_000, 50_001]
    assert keys == [("0000001", "0100000"), ("0100001", "0200000"), ("0200001", "0250001")]
    assert {group.column(0).compression for group in groups} == {"ZSTD"}
    assert [column.column_index for column in groups[0].sorting_columns] == [0, 1]


def test_manifest_says_what_is_in_the_files(tmp_path: Path) -> None:
    publication = publish_small(small_lake(tmp_path / "lake", dossiers=10), tmp_path, night="2026-02-28")
    manifest = read_manifest(tmp_path / "published")
    assert [resource["name"] for resource in manifest["resources"]] == list(NAMES)
    for resource in manifest["resources"]:
        content = (publication.folder / resource["path"]).read_bytes()
        assert resource["bytes"] == len(content)
        assert resource["hash"] == f"sha256:{hashlib.sha256(content).hexdigest()}"
        assert resource["rows"] == pq.ParquetFile(pa.BufferReader(content)).metadata.num_rows
        assert resource["format"] == "parquet"
    rows = {resource["name"]: resource["rows"] for resource in manifest["resources"]}
    filled = {"indicator": 1, "verdict": 1, "dossier": 10, "payment": 10, "unit": 1, "procedure": 1}
    assert rows == dict.fromkeys(NAMES, 0) | filled
    assert manifest["x-night"] == "2026-02-28"
    assert manifest["x-as-of"] == "2026-02-28T18:00:00Z"
    assert manifest["x-definitions"] == {"online/1": "a1b2"}
    assert manifest["x-cursors"] == {"portal": {"35417": {"start": "2026-02-28"}}}
    assert manifest["x-fingerprint"] == publication.fingerprint
    assert manifest["x-lake-versions"]["core_dossier"] == 0
    assert (tmp_path / manifest["x-folder"]).resolve() == publication.folder.resolve()


def test_manifest_schema_is_frictionless_with_constraints(tmp_path: Path) -> None:
    publish_small(Lake(str(tmp_path / "lake")), tmp_path)
    schema = read_manifest(tmp_path / "published")["resources"][0]["schema"]
    fields = {field["name"]: field for field in schema["fields"]}
    assert schema["primaryKey"][:2] == ["indicator", "version"]
    assert fields["rate"]["type"] == "number"
    assert "constraints" not in fields["rate"]
    assert fields["state"]["constraints"] == {"required": True, "enum": ["ok", "no_denominator"]}
    assert fields["as_of"]["type"] == "datetime"
    assert fields["as_of"]["x-arrow-type"] == "timestamp[us, tz=UTC]"


def test_manifest_is_stored_sorted_and_readable(tmp_path: Path) -> None:
    publish_small(Lake(str(tmp_path / "lake")), tmp_path)
    text = (tmp_path / "published" / "datapackage.json").read_text(encoding="utf-8")
    assert text == json.dumps(json.loads(text), ensure_ascii=False, indent=2, sort_keys=True) + "\n"
    assert "Thước Đo" in text


def test_as_of_of_any_zone_is_written_in_utc(tmp_path: Path) -> None:
    vietnam = datetime(2026, 3, 1, 1, 0, tzinfo=timezone(timedelta(hours=7)))
    link = tmp_path / "published"
    publish(Lake(str(tmp_path / "lake")), folder=link, as_of=vietnam, night="n", definitions={}, cursors={})
    assert read_manifest(tmp_path / "published")["x-as-of"] == "2026-02-28T18:00:00Z"


def test_equal_rows_give_equal_bytes_whatever_their_order_and_process(tmp_path: Path) -> None:
    rows = small_lake(tmp_path / "a" / "lake", dossiers=500).read(CORE_DOSSIER)
    shuffled = small_lake(tmp_path / "b" / "lake", dossiers=500)
    shuffled.replace(CORE_DOSSIER, rows.slice(300))
    shuffled.append(CORE_DOSSIER, rows.slice(0, 300))
    first = publish_small(Lake(str(tmp_path / "a" / "lake")), tmp_path / "a", night="one")
    code = (
        "import sys; from pathlib import Path; from tests.publications.lakes import publish_small; "
        "from warehouse.lake import Lake; home = Path(sys.argv[1]); "
        "sys.stdout.write(publish_small(Lake(str(home / 'lake')), home, night='two').fingerprint)"
    )
    root = str(Path(__file__).parents[2])
    second = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "b")],
        env={**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": root, "TZ": "Asia/Ho_Chi_Minh"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in NAMES:
        content = [(tmp_path / side / "published" / f"{name}.parquet").read_bytes() for side in "ab"]
        assert content[0] == content[1], name
    assert first.fingerprint == second


def test_fingerprint_changes_with_one_value(tmp_path: Path) -> None:
    lake = small_lake(tmp_path / "lake", dossiers=10)
    before = publish_small(lake, tmp_path)
    lake.append(CORE_UNIT, table_rows(CORE_UNIT, {"unit_code": "H15.SNV", "name": "Sở Nội vụ"}))
    after = publish_small(lake, tmp_path)
    changed = {name for name in NAMES if before.tables[name] != after.tables[name]}
    assert changed == {"unit"}
    assert before.fingerprint != after.fingerprint


def test_the_link_is_relative_so_that_the_storage_can_move(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    publish_small(small_lake(tmp_path / "lake", dossiers=4), home)
    home.rename(tmp_path / "moved")
    assert verify(tmp_path / "moved" / "published") == []


def test_older_publications_stay_whole_up_to_keep(tmp_path: Path) -> None:
    lake = small_lake(tmp_path / "lake", dossiers=4)
    made = [publish_small(lake, tmp_path, night=f"n{number}", keep=3).folder for number in range(5)]
    assert sorted((tmp_path / "publications").glob("2*")) == made[2:]
    assert [verify(folder) for folder in made[2:]] == [[], [], []]
    assert (tmp_path / "published").resolve() == made[-1]


def test_a_clock_set_back_does_not_make_the_newest_the_oldest(tmp_path: Path) -> None:
    lake = small_lake(tmp_path / "lake", dossiers=4)
    ahead = publish_small(lake, tmp_path, night="ahead").folder
    ahead.rename(ahead.with_name("29990101T000000.000000Z-ahead"))
    made = [publish_small(lake, tmp_path, keep=2).folder for _ in range(2)]
    assert sorted((tmp_path / "publications").glob("2*")) == made
    assert verify(tmp_path / "published") == []


def test_a_real_folder_in_place_of_the_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "published").mkdir()
    (tmp_path / "published" / "keepsake").write_text("mine")
    with pytest.raises(PublicationRefusedError, match=r"real folder.*Move it away, for instance to .*published.old"):
        publish_small(Lake(str(tmp_path / "lake")), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["published"]
    assert (tmp_path / "published" / "keepsake").read_text() == "mine"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"as_of": AS_OF.replace(tzinfo=None)}, "no time zone"),
        ({"night": "../etc"}, "cannot name a folder"),
        ({"night": ""}, "cannot name a folder"),
        ({"keep": 1}, "at least 2"),
    ],
)
def test_arguments_that_cannot_be_used_are_named(tmp_path: Path, change: dict[str, object], message: str) -> None:
    arguments = {"as_of": AS_OF, "night": "n", "definitions": {}, "cursors": {}, **change}
    with pytest.raises(ValueError, match=message):
        publish(Lake(str(tmp_path / "lake")), folder=tmp_path / "published", **arguments)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_a_null_where_none_may_be_is_refused_and_leaves_nothing_behind(tmp_path: Path) -> None:
    lake = small_lake(tmp_path / "lake", dossiers=4)
    old = publish_small(lake, tmp_path)
    rows = lake.read(CORE_UNIT)
    loose = pa.schema([pa.field(field.name, field.type) for field in rows.schema])
    nulled = rows.cast(loose).set_column(3, "name", pa.nulls(1, pa.string()))
    write_deltalake(lake.uri(CORE_UNIT), nulled, mode="overwrite", schema_mode="overwrite")
    with pytest.raises(PublicationRefusedError, match=r"core_unit.*column name: 1 nulls"):
        publish_small(lake, tmp_path)
    assert (tmp_path / "published").resolve() == old.folder
    assert verify(tmp_path / "published") == []
    assert {path.name for path in (tmp_path / "publications").iterdir()} == {old.folder.name, ".lock"}


def test_a_file_lost_from_the_lake_is_an_error_and_leaves_nothing_behind(tmp_path: Path) -> None:
    lake = small_lake(tmp_path / "lake", dossiers=4)
    old = publish_small(lake, tmp_path)
    next((tmp_path / "lake" / "core_payment").rglob("*.parquet")).unlink()
    with pytest.raises(duckdb.IOException, match="core_payment"):
        publish_small(lake, tmp_path)
    assert verify(tmp_path / "published") == []
    assert {path.name for path in (tmp_path / "publications").iterdir()} == {old.folder.name, ".lock"}
