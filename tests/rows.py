"""Rows of declared tables, made by hand: what a test does not name gets a neutral value.

Belongs here: turning a few named values into an Arrow table of a declaration. Does not belong here:
values that a test reasons about (they stand in the test).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa

from warehouse.schema import COUNT, DAY, FLAG, INSTANT, RATE, TEXT, Column, Table

_NEUTRAL: dict[pa.DataType, Any] = {
    TEXT: "x",
    FLAG: False,
    COUNT: 0,
    RATE: 0.0,
    DAY: date(2026, 1, 1),
    INSTANT: datetime(2026, 1, 1, tzinfo=UTC),
}


def table_rows(table: Table, *rows: Mapping[str, Any]) -> pa.Table:
    """An Arrow table in the declared schema; a nullable column left out is null, any other neutral."""
    for row in rows:
        if unknown := set(row) - set(table.column_names):
            raise KeyError(f"table {table.name} has no columns {sorted(unknown)}")
    content = [{column.name: row.get(column.name, _neutral(column)) for column in table.columns} for row in rows]
    return pa.Table.from_pylist(content, schema=table.arrow_schema())


def _neutral(column: Column) -> Any:
    if column.nullable:
        return None
    return column.values[0] if column.values else _NEUTRAL.get(column.type, 0)
