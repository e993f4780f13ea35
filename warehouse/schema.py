"""What a table declaration is, and what can be derived from one.

Belongs here: the classes `Column` and `Table` and the derivations (Arrow schema, SQLAlchemy table,
Frictionless schema, data dictionary rows). Does not belong here: the tables themselves (see
`tables.py`), nor anything that reads or writes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

#: Every instant is stored in UTC with its zone; days and months are derived in Asia/Ho_Chi_Minh.
INSTANT = pa.timestamp("us", tz="UTC")
DAY = pa.date32()
TEXT = pa.string()
FLAG = pa.bool_()
COUNT = pa.int64()
CODE = pa.int16()
RATE = pa.float64()
#: Vietnamese đồng, whole.
VND = pa.int64()

_SQL_TYPES: dict[pa.DataType, type[sa.types.TypeEngine[Any]]] = {
    TEXT: sa.Text,
    FLAG: sa.Boolean,
    COUNT: sa.BigInteger,
    CODE: sa.SmallInteger,
    RATE: sa.Double,
    DAY: sa.Date,
}

_FRICTIONLESS: dict[pa.DataType, str] = {
    TEXT: "string",
    FLAG: "boolean",
    COUNT: "integer",
    CODE: "integer",
    RATE: "number",
    DAY: "date",
    INSTANT: "datetime",
}


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column: its name, Arrow type, meaning in both languages, unit and whether it may be null."""

    name: str
    type: pa.DataType
    vi: str
    en: str
    unit: str | None = None
    nullable: bool = True
    #: Allowed values, when they are a closed list.
    values: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table, declared once: everything else about its shape is derived from this.

    `key` names the columns that identify a row; `partition` the column that divides the files of
    the lake (a storage matter, never a meaning); `sort` the order of rows within a file.
    """

    name: str
    vi: str
    en: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    partition: str | None = None
    sort: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = self.column_names
        if len(set(names)) != len(names):
            raise ValueError(f"table {self.name}: a column is declared twice")
        unknown = {*self.key, *self.sort, *([self.partition] if self.partition else [])} - set(names)
        if unknown:
            raise ValueError(f"table {self.name}: key, sort or partition names unknown columns {sorted(unknown)}")

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names in declared order."""
        return tuple(column.name for column in self.columns)

    def column(self, name: str) -> Column:
        """Return the column called `name`; `KeyError` names the table as well."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"table {self.name} has no column {name!r}; it has {', '.join(self.column_names)}")

    def arrow_schema(self) -> pa.Schema:
        """The Arrow schema that Parquet files of this table carry, in declared order."""
        return pa.schema(
            pa.field(
                column.name,
                column.type,
                nullable=column.nullable,
                metadata={"vi": column.vi, "en": column.en} | ({"unit": column.unit} if column.unit else {}),
            )
            for column in self.columns
        )

    def sql_table(self, metadata: sa.MetaData) -> sa.Table:
        """The SQLAlchemy table with the same columns, for marts; nested columns cannot be had there."""
        columns: list[sa.Column[Any]] = []
        for column in self.columns:
            kind = sa.DateTime(timezone=True) if column.type == INSTANT else _SQL_TYPES[column.type]()
            columns.append(
                sa.Column(
                    column.name,
                    kind,
                    primary_key=column.name in self.key,
                    nullable=column.nullable and column.name not in self.key,
                    comment=column.vi,
                )
            )
        return sa.Table(self.name, metadata, *columns, comment=self.vi)

    def frictionless(self) -> dict[str, Any]:
        """The Table Schema (Frictionless) of this table: names, types, constraints, both titles."""
        fields = []
        for column in self.columns:
            field: dict[str, Any] = {
                "name": column.name,
                "type": _FRICTIONLESS.get(column.type, "array" if pa.types.is_list(column.type) else "object"),
                "title": column.vi,
                "description": column.en,
            }
            constraints: dict[str, Any] = {}
            if not column.nullable:
                constraints["required"] = True
            if column.values:
                constraints["enum"] = list(column.values)
            if constraints:
                field["constraints"] = constraints
            if column.unit:
                field["unit"] = column.unit
            fields.append(field)
        return {"fields": fields, "primaryKey": list(self.key)}
