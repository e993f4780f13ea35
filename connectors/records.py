"""From raw JSON records to Arrow columns, against an explicit schema.

Belongs here: splitting nothing and guessing nothing, only typing: pyarrow's JSON reader for a page
whose records agree with the contract (it releases the GIL, and a field outside the contract is
never built), and record by record for what does not. Does not belong here: what a field means.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Optional, Union

import msgspec
import pyarrow as pa
import pyarrow.json as pa_json

from connectors.contract import Broken
from connectors.shape import Shape, shape_of

_TRUE = frozenset({"true", "1", "yes"})
_FALSE = frozenset({"false", "0", "no"})


@dataclass(frozen=True)
class Typed:
    """Typed records in order, and what could not be typed; `kept` are the indexes of the former, None for all.

    `shape` is that of a sample of the raw records.
    """

    records: pa.Table
    broken: tuple[Broken, ...] = ()
    kept: tuple[int, ...] | None = None
    shape: Shape = field(default_factory=dict)


class Reader:
    """Types records against one wire schema; remembers how this source spells its scalars.

    A source that sends `1` where another sends `"1"` is not an error: the spelling of the first
    record that failed is tried for the whole page before records are taken one by one.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema
        self._spelling = schema
        kind: Any = struct_of(pa.struct(list(schema)))
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(kind)

    def read(self, records: Sequence[bytes], *, where: Callable[[int], str]) -> Typed:
        """Columns of `records`; one that cannot be typed becomes `Broken`, standing at `where(index)`."""
        if not records:
            return Typed(self.schema.empty_table())
        return replace(self._typed(records, where), shape=shape_of(records))

    def _typed(self, records: Sequence[bytes], where: Callable[[int], str]) -> Typed:
        spellings: tuple[Callable[[], pa.Schema], ...] = (lambda: self._spelling, lambda: self._spelled(records[0]))
        for spelling in spellings:
            try:
                return Typed(self._whole_page(records, spelling()))
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError, msgspec.DecodeError, UnicodeDecodeError):
                continue
        return self._one_by_one(records, where)

    def _whole_page(self, records: Sequence[bytes], spelling: pa.Schema) -> pa.Table:
        lines = b"\n".join(_one_line(record) for record in records)
        lines.decode()  # pyarrow does not refuse bytes that are no UTF-8
        table = _cast(_read_lines(lines, spelling), self.schema)
        if table.num_rows != len(records):
            raise pa.ArrowInvalid("not one row per record")
        return table

    def _spelled(self, record: bytes) -> pa.Schema:
        pieces = msgspec.json.decode(record, type=dict[str, msgspec.Raw])
        self._spelling = pa.schema(
            pa.field(field.name, _spelling_of(pieces.get(field.name), field.type)) for field in self.schema
        )
        return self._spelling

    def _one_by_one(self, records: Sequence[bytes], where: Callable[[int], str]) -> Typed:
        rows: list[dict[str, Any]] = []
        kept: list[int] = []
        broken: list[Broken] = []
        kind = pa.struct(list(self.schema))
        for index, record in enumerate(records):
            try:
                rows.append(coerce(self._decoder.decode(record), kind))
                kept.append(index)
            except (msgspec.DecodeError, ValueError, OverflowError, UnicodeDecodeError):
                # The decoder's own message may quote the value; place and size are enough.
                broken.append(untyped(record, where(index)))
        return Typed(pa.Table.from_pylist(rows, schema=self.schema), tuple(broken), tuple(kept))


def untyped(record: bytes, where: str) -> Broken:
    """The quarantine entry of bytes that are no record: where they stood, how long they are, their hash."""
    return Broken(
        where=where,
        reason="unreadable_record",
        clause="json",
        detail=f"Không đọc được bản ghi tại {where} ({len(record)} byte): JSON hỏng hoặc sai kiểu dữ liệu",
        content_hash=hashlib.md5(record, usedforsecurity=False).hexdigest(),
    )


def numbered(table: pa.Table, first: int, name: str) -> pa.Table:
    """`table` with a column `name` that counts from `first`."""
    return table.append_column(name, pa.array(range(first, first + table.num_rows), pa.int64()))


def _one_line(record: bytes) -> bytes:
    piece = bytes(record)
    return msgspec.json.format(piece, indent=-1) if b"\n" in piece else piece


def _read_lines(lines: bytes, schema: pa.Schema) -> pa.Table:
    return pa_json.read_json(
        io.BytesIO(lines),
        read_options=pa_json.ReadOptions(use_threads=False, block_size=len(lines) + 1),
        parse_options=pa_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
    )


def _cast(table: pa.Table, schema: pa.Schema) -> pa.Table:
    return table.select(schema.names).cast(schema)


def _spelling_of(piece: msgspec.Raw | None, kind: pa.DataType) -> pa.DataType:
    """The Arrow type that reads this piece of JSON where `kind` is wanted; nested types stay as declared."""
    if piece is None or pa.types.is_nested(kind):
        return kind
    text = bytes(piece)
    if text[:1] == b'"':
        return pa.string()
    if text[:1] in (b"t", b"f"):
        return pa.bool_()
    if text[:1] == b"n":
        return kind
    if any(mark in text for mark in b".eE"):
        return kind  # a fraction is text only record by record, where it is spelled as it stood
    return pa.int64()


@cache
def struct_of(kind: pa.DataType) -> Any:
    """A msgspec type that decodes the contract's fields and skips every other, in any spelling of scalars."""
    if pa.types.is_struct(kind):
        fields = [(f"f{index}", Optional[struct_of(child.type)], None) for index, child in enumerate(kind)]  # noqa: UP045
        rename = {f"f{index}": child.name for index, child in enumerate(kind)}
        return msgspec.defstruct("Wire", fields, rename=rename)
    if pa.types.is_list(kind):
        inner: Any = struct_of(kind.value_type)
        return Union[list[inner], inner, str]  # noqa: UP007
    return Union[str, int, float, bool]  # noqa: UP007


def coerce(value: Any, kind: pa.DataType) -> Any:
    """A decoded value as the Python value that `kind` holds; `ValueError` when it cannot be.

    Blank text is "nothing said" wherever text is not wanted; a lone object stands for a list of one.
    """
    if value is None:
        return None
    if pa.types.is_struct(kind):
        return {child.name: coerce(getattr(value, f"f{index}"), child.type) for index, child in enumerate(kind)}
    if pa.types.is_list(kind):
        return _coerce_list(value, kind.value_type)
    return _SCALARS[str(kind)](value)


def _coerce_list(value: Any, inner: pa.DataType) -> list[Any] | None:
    if isinstance(value, str):
        if value.strip():
            raise ValueError("text where a list is expected")
        return None
    items = value if isinstance(value, list) else [value]
    return [coerce(item, inner) for item in items]


def text_of(value: Any) -> str:
    """A scalar as the source would write it inside quotes."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def int_of(value: Any) -> int | None:
    """A whole number of 64 bits, however it is spelled; None for blank text, `ValueError` for anything else."""
    if isinstance(value, str) and not value.strip():
        return None
    if isinstance(value, float) and not value.is_integer():
        raise ValueError("a fraction where a whole number is expected")
    number = int(value)
    if not -(2**63) <= number < 2**63:
        raise ValueError("a number beyond 64 bits")
    return number


def float_of(value: Any) -> float | None:
    """A number, however it is spelled; None for blank text."""
    if isinstance(value, str) and not value.strip():
        return None
    return float(value)


def flag_of(value: Any) -> bool | None:
    """A yes or no, however it is spelled; None for blank text, `ValueError` for anything else."""
    text = text_of(value).strip().lower()
    if not text:
        return None
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError("neither yes nor no")


_SCALARS: dict[str, Callable[[Any], Any]] = {"string": text_of, "int64": int_of, "double": float_of, "bool": flag_of}
