"""How a table and a night's counts are shown in the Dagster UI.

Belongs here: the asset specification that a table's declaration implies, and metadata made of counts.
Does not belong here: what an asset computes. Metadata never holds a row of data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import dagster as dg

from expectations.wording import count_vi
from warehouse.lake import Lake
from warehouse.schema import Table

OWNERS = ("team:van-hanh-so",)


class Count(Protocol):
    """What came of the rows of one source: read = stored + unchanged + quarantined."""

    @property
    def source(self) -> str:
        """Name of the source."""
        ...

    @property
    def rows_read(self) -> int:
        """Rows read."""
        ...

    @property
    def rows_stored(self) -> int:
        """Rows that were new or different."""
        ...

    @property
    def rows_unchanged(self) -> int:
        """Rows equal to what was stored."""
        ...

    @property
    def rows_quarantined(self) -> int:
        """Rows kept out, with a reason."""
        ...


def spec(table: Table, *, group: str, kinds: Iterable[str] = ("deltalake",), **more: Any) -> dg.AssetSpec:
    """The asset of `table`: Vietnamese then English description, owners, columns, group."""
    return dg.AssetSpec(
        table.name,
        group_name=group,
        description=f"{table.vi}\n\n{table.en}.",
        owners=OWNERS,
        kinds={"python", *kinds},
        metadata={"dagster/column_schema": column_schema(table), "key": ", ".join(table.key)},
        **more,
    )


def column_schema(table: Table) -> dg.TableSchema:
    """The declared columns as the UI lists them."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                column.name,
                type=str(column.type),
                description=f"{column.vi} · {column.en}" + (f" [{column.unit}]" if column.unit else ""),
                constraints=dg.TableColumnConstraints(nullable=column.nullable, unique=table.key == (column.name,)),
            )
            for column in table.columns
        ]
    )


def count_metadata(count: Count) -> dict[str, int]:
    """The four counts of one source, as the UI plots them."""
    return {
        "rows_read": count.rows_read,
        "rows_stored": count.rows_stored,
        "rows_unchanged": count.rows_unchanged,
        "rows_quarantined": count.rows_quarantined,
    }


def said(count: Count) -> str:
    """The four counts in one Vietnamese line."""
    read, stored, unchanged, quarantined = map(count_vi, count_metadata(count).values())
    return f"{count.source}: đọc {read}, ghi {stored}, không đổi {unchanged}, cách ly {quarantined}"


def materialised(lake: Lake, table: Table, metadata: Mapping[str, Any] | None = None) -> dg.MaterializeResult[Any]:
    """What is said of `table` after it was written: rows, version of the lake, hash of its content."""
    rows = lake.connect(table).sql(f'SELECT count(*) FROM "{table.name}"').fetchall()[0][0]
    return dg.MaterializeResult(
        asset_key=table.name,
        metadata={"dagster/row_count": rows, "lake_version": lake.version(table), **(metadata or {})},
        data_version=dg.DataVersion(lake.fingerprint(table)),
    )
