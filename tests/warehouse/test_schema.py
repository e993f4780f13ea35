"""One declaration yields every shape of a table; the shapes must agree with each other.

A small declaration whose expected derivations can be read off, then all real tables for what must
hold of each.
"""

from __future__ import annotations

import pyarrow as pa
import pytest
import sqlalchemy as sa

from warehouse.lake import connect, duckdb_type
from warehouse.schema import CODE, COUNT, DAY, FLAG, INSTANT, RATE, TEXT, Column, Table
from warehouse.tables import TABLES, raw_table

COLUMNS = (
    Column(name="id", type=TEXT, nullable=False, vi="Mã", en="Id"),
    Column(name="amount", type=COUNT, vi="Số tiền", en="Amount", unit="VND"),
    Column(name="state", type=TEXT, nullable=False, vi="Tình trạng", en="State", values=("ok", "bad")),
    Column(name="at", type=INSTANT, vi="Lúc", en="When"),
    Column(name="files", type=pa.list_(pa.struct([("n", pa.int64())])), vi="Tệp", en="Files"),
)
TABLE = Table(name="thing", vi="Vật", en="Thing", key=("id",), sort=("id",), columns=COLUMNS)


def test_arrow_schema_has_types_nullability_and_meaning_in_declared_order() -> None:
    schema = TABLE.arrow_schema()
    assert schema.names == ["id", "amount", "state", "at", "files"]
    assert [field.nullable for field in schema] == [False, True, False, True, True]
    assert schema.field("at").type == pa.timestamp("us", tz="UTC")
    assert schema.field("amount").metadata == {b"vi": "Số tiền".encode(), b"en": b"Amount", b"unit": b"VND"}
    assert b"unit" not in schema.field("id").metadata


def test_frictionless_schema_has_types_and_constraints() -> None:
    fields = {field["name"]: field for field in TABLE.frictionless()["fields"]}
    assert {name: field["type"] for name, field in fields.items()} == {
        "id": "string",
        "amount": "integer",
        "state": "string",
        "at": "datetime",
        "files": "array",
    }
    assert fields["state"]["constraints"] == {"required": True, "enum": ["ok", "bad"]}
    assert "constraints" not in fields["amount"]
    assert TABLE.frictionless()["primaryKey"] == ["id"]


def test_sql_table_has_key_nullability_and_zone() -> None:
    flat = Table(name="thing", vi="Vật", en="Thing", key=("id",), columns=COLUMNS[:-1])
    made = flat.sql_table(sa.MetaData())
    assert [column.name for column in made.primary_key] == ["id"]
    assert {column.name: column.nullable for column in made.columns} == {
        "id": False,
        "amount": True,
        "state": False,
        "at": True,
    }
    assert isinstance(made.c.at.type, sa.DateTime)
    assert made.c.at.type.timezone
    assert made.c.amount.comment == "Số tiền"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"columns": (*COLUMNS, COLUMNS[0])}, "thing: a column is declared twice"),
        ({"key": ("nope",)}, r"thing: .*unknown columns \['nope'\]"),
        ({"sort": ("nope",)}, "unknown columns"),
        ({"partition": "nope"}, "unknown columns"),
    ],
)
def test_a_wrong_declaration_names_table_and_column(change: dict[str, object], message: str) -> None:
    arguments: dict[str, object] = {"name": "thing", "vi": "Vật", "en": "Thing", "key": ("id",), "columns": COLUMNS}
    with pytest.raises(ValueError, match=message):
        Table(**(arguments | change))  # type: ignore[arg-type]


def test_an_unknown_column_names_the_table_and_what_it_has() -> None:
    with pytest.raises(KeyError, match="table thing has no column 'x'; it has id, amount"):
        TABLE.column("x")


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: str(table.name))
def test_every_table_can_be_had_in_every_shape(table: Table) -> None:
    assert len(table.arrow_schema()) == len(table.frictionless()["fields"]) == len(table.columns)
    made = table.sql_table(sa.MetaData())
    sa.create_engine("sqlite://").connect().execute(sa.schema.CreateTable(made))
    assert all(not table.column(name).nullable for name in table.key), "a key column may be null"
    assert {column.type for column in table.columns} <= {TEXT, FLAG, COUNT, CODE, RATE, DAY, INSTANT}
    assert all(column.vi and column.en for column in table.columns)


def test_duckdb_types_read_back_as_declared_nested_ones_included() -> None:
    nested = pa.list_(pa.struct([("a", pa.int64()), ("b c", pa.list_(pa.string()))]))
    kinds = [TEXT, FLAG, COUNT, CODE, RATE, DAY, INSTANT, pa.int32(), pa.timestamp("us"), nested]
    listing = ", ".join(f"CAST(NULL AS {duckdb_type(kind)}) AS c{index}" for index, kind in enumerate(kinds))
    read = connect().sql(f"SELECT {listing}").to_arrow_table()
    assert read.cast(pa.schema([(f"c{index}", kind) for index, kind in enumerate(kinds)])).num_rows == 1
    assert [str(kind) for kind in read.schema.types[:6]] == [
        "string",
        "bool",
        "int64",
        "int16",
        "double",
        "date32[day]",
    ]


def test_a_raw_table_is_bookkeeping_then_the_wire_names() -> None:
    wire = pa.schema([pa.field("dossierNo", pa.string(), metadata={"vi": "Mã hồ sơ"}), pa.field("total", pa.int64())])
    table = raw_table("raw_x", vi="Thô", en="Raw", fields=wire)
    kept = ("record_key", "content_hash", "extracted_at", "night", "is_gone")
    assert table.column_names == (*kept, "dossierNo", "total")
    assert table.key == ("record_key", "extracted_at")
    assert table.column("dossierNo").vi == "Mã hồ sơ"
    assert table.column("total").nullable
