"""Drift of a source's schema: a field that is new, is missing, or holds another kind of value.

Belongs here: comparing what a night's sample showed with what was known, and telling each difference
once. Does not belong here: looking at records (`connectors/shape.py`), nor a code without a meaning
(conforming sets its record aside and tells it). Drift never stops a night: what is well is read on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa

from connectors.contract import RecordContract
from connectors.shape import Shape
from warehouse.lake import Lake
from warehouse.tables import RAW_SHAPE

_Known = Mapping[tuple[str, str], dict[str, Any]]


def note_shape(lake: Lake, source: str, contract: RecordContract, shape: Shape, *, now: datetime) -> list[str]:
    """Bring `raw_shape` up to date with what the records of one contract showed; one Vietnamese line per change.

    The first shape of a source is its own: nothing is told. A null says nothing of a field's kind.
    """
    if not shape:
        return []
    rows = lake.read(RAW_SHAPE).to_pylist()
    mine = {
        (row["field"], row["value_kind"]): row
        for row in rows
        if row["source"] == source and row["kind"] == contract.kind
    }
    others = [row for row in rows if row["source"] != source or row["kind"] != contract.kind]
    told = list(_told(source, mine, shape, contract)) if mine else []
    updated = _updated(source, contract, mine, shape, now)
    table = pa.Table.from_pylist([*others, *updated], schema=RAW_SHAPE.arrow_schema())
    lake.replace_if_different(RAW_SHAPE, table)
    return told


def _told(source: str, known: _Known, shape: Shape, contract: RecordContract) -> Iterator[str]:
    there = {field for (field, _), row in known.items() if row["missing_since"] is None}
    kept = contract.fields_read
    for field in sorted(set(shape) - there):
        meaning = "có trong hợp đồng dữ liệu, từ nay được lưu" if field in kept else "ngoài hợp đồng, không lưu"
        yield f"nguồn {source}: trường mới «{field}» ({meaning})"
    for field in sorted(there - set(shape)):
        meaning = "các chỉ số dùng trường này sẽ thiếu dữ liệu" if field in kept else "trường không được dùng"
        yield f"nguồn {source}: không còn trường «{field}» ({meaning})"
    for field in sorted(set(shape) & there):
        before = {kind for name, kind in known if name == field} - {"null"}
        if before and (new := sorted(shape[field] - before - {"null"})):
            yield f"nguồn {source}: trường «{field}» đổi kiểu: {', '.join(sorted(before))} → {', '.join(new)}"


def _updated(
    source: str, contract: RecordContract, known: _Known, shape: Shape, now: datetime
) -> Sequence[Mapping[str, Any]]:
    kept = contract.fields_read
    fresh = {
        (field, kind): {
            "source": source,
            "kind": contract.kind,
            "field": field,
            "value_kind": kind,
            "is_kept": field in kept,
            "first_seen_at": now,
            "missing_since": None,
        }
        for field, kinds in shape.items()
        for kind in kinds
    }
    before = {
        key: row | {"missing_since": None if key[0] in shape else row["missing_since"] or now}
        for key, row in known.items()
    }
    return [*(fresh | before).values()]
