"""From fetched columns to the record contract: texts, presences and lists, column by column.

Belongs here: how a value is written as text, and how child rows become the lists of their dossiers.
Does not belong here: statements, connections, or what a field means (conforming).

No row ever becomes an object: columns go from the driver to Arrow, and a path or a file name ends here
as yes or no.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from connectors.database_plan import Kind, Plan, Rest, Wanted
from connectors.database_profile import AnyOf, Child, Coded, Deleted, Joined, OnlyWhere, Pieces, Rows, Value, columns_of
from connectors.profiled import LISTS, PRESENCES, SCHEMA

Texts: TypeAlias = pa.Array
_MICROSECONDS = pa.timestamp("us")
#: An instant that Arrow can read; what else a column of instants may hold ("infinity") stays as it is.
_ISO = r"^\d{4}-\d{2}-\d{2}( \d{2}:\d{2}:\d{2}(\.\d{1,6})?)?$"
#: What MySQL calls no date.
_NO_DATE = "0000-00-00"
#: Bytes that the CSV reader takes at a time: what the processor's cache holds is read four times faster.
_BLOCK = 1 << 20
_ABSENT = pa.array(["", "0", "false", "null", "none"])


def texts_of_values(values: Sequence[Any], wanted: Wanted, zone: str) -> Texts:
    """A column of the driver's values as text; instants as `2026-10-31 07:30:00.000000`, local to `zone`."""
    try:
        return _text(pa.array(values, _ARROW[wanted.kind]), wanted, zone)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, ValueError):
        # MySQL's zero dates come as text, decimals and GUIDs as objects.
        return _text(pa.array([_plain(value, zone) for value in values], pa.string()), wanted, zone)


_ARROW: dict[Kind, pa.DataType] = {
    "text": pa.string(),
    "whole": pa.int64(),
    "flag": pa.bool_(),
    "instant": _MICROSECONDS,
    "aware": pa.timestamp("us", tz="UTC"),
    "day": pa.date32(),
}


def _plain(value: Any, zone: str) -> str | None:
    if isinstance(value, datetime):
        local = value if value.tzinfo is None else value.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        return f"{local:%Y-%m-%d %H:%M:%S.%f}"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bool):
        return str(int(value))
    return None if value is None or str(value).startswith(_NO_DATE) else str(value)


def texts_of_csv(data: bytes, wanted: Sequence[Wanted], zone: str) -> list[Texts]:
    """The columns of a COPY in CSV, as `texts_of_values` makes them."""
    return [_text(column, each, zone) for column, each in zip(columns_of_csv(data, len(wanted)), wanted, strict=True)]


def columns_of_csv(data: bytes, count: int) -> list[Texts]:
    """The `count` columns of a COPY in CSV, as they came."""
    names = [f"c{number}" for number in range(count)]
    if not data:
        return [pa.array([], pa.string()) for _ in names]
    try:
        table = _read_csv(data, names, block=_BLOCK)
    except pa.ArrowInvalid:
        # A row that is longer than a block.
        table = _read_csv(data, names, block=len(data) + 1)
    return [column.combine_chunks() for column in table.columns]


def _read_csv(data: bytes, names: list[str], *, block: int) -> pa.Table:
    return pa_csv.read_csv(
        pa.py_buffer(data),
        read_options=pa_csv.ReadOptions(column_names=names, block_size=block, use_threads=False),
        parse_options=pa_csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        convert_options=pa_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )


def _text(column: pa.Array, wanted: Wanted, zone: str) -> Texts:
    if wanted.kind in ("instant", "aware") and not (wanted.kind == "aware" and pa.types.is_string(column.type)):
        return _instants(column, wanted, zone)
    if wanted.kind == "flag":
        if not pa.types.is_boolean(column.type):
            return pc.replace_substring_regex(pc.replace_substring_regex(column, "^t$", "1"), "^f$", "0")
        return column.cast(pa.int8()).cast(pa.string())
    return column if pa.types.is_string(column.type) else column.cast(pa.string())


def _instants(column: pa.Array, wanted: Wanted, zone: str) -> Texts:
    if pa.types.is_string(column.type):
        try:
            column = column.cast(_MICROSECONDS)
        except pa.ArrowInvalid:
            readable = pc.fill_null(pc.match_substring_regex(column, _ISO), False)
            nothing = pa.scalar(None, pa.string())
            known = pc.if_else(readable, column, nothing).cast(_MICROSECONDS)
            return pc.if_else(readable, _local(known, wanted, zone).cast(pa.string()), column)
    return _local(column, wanted, zone).cast(pa.string())


def _local(column: pa.Array, wanted: Wanted, zone: str) -> pa.Array:
    if column.type.tz is None and wanted.zone in ("", zone):
        return column
    if column.type.tz is None:
        column = pc.assume_timezone(column, wanted.zone, ambiguous="earliest", nonexistent="earliest")
    return pc.local_timestamp(column.cast(pa.timestamp("us", tz=zone)))


def is_there(texts: Texts) -> pa.Array:
    """Whether each text says that something is there, as `profiled.is_there` does."""
    said = pc.utf8_lower(pc.utf8_trim_whitespace(pc.fill_null(texts, "")))
    return pc.invert(pc.is_in(said, value_set=_ABSENT))


def _any_piece(texts: Texts, separator: str) -> pa.Array:
    pieces = pc.split_pattern(pc.fill_null(texts, ""), separator)
    rows = pc.list_parent_indices(pieces).filter(is_there(pc.list_flatten(pieces)))
    found = np.zeros(len(texts), dtype=np.bool_)
    found[rows.to_numpy()] = True
    return pa.array(found)


def value_of(columns: Sequence[Texts], value: Value | OnlyWhere | Rows | None, field: str) -> pa.Array:
    """A field's column from the columns that it is made of: text, or yes and no where the field is a presence."""
    if isinstance(value, AnyOf | Rows):
        found = is_there(columns[0])
        for column in columns[1:]:
            found = pc.or_(found, is_there(column))
        return found
    if isinstance(value, Pieces):
        return _any_piece(columns[0], value.separator)
    if isinstance(value, Joined):
        parts = [pc.utf8_trim_whitespace(pc.fill_null(column, "")) for column in columns]
        return pc.binary_join_element_wise(*parts, value.joined)
    if isinstance(value, Coded):
        return _coded(columns[0], value)
    return is_there(columns[0]) if field in PRESENCES else columns[0]


def _coded(column: Texts, value: Coded) -> Texts:
    said = pc.index_in(pc.utf8_trim_whitespace(column), value_set=pa.array(list(value.values)))
    return pa.array(list(value.values.values()), pa.string()).take(said)


def _deleted(column: Texts, rule: Deleted) -> Texts:
    if rule.when == "said":
        return pc.if_else(pc.is_valid(column), "1", "")
    if rule.when == "negative":
        return pc.if_else(pc.fill_null(pc.starts_with(pc.utf8_ltrim_whitespace(column), "-"), False), "1", "")
    return pc.if_else(is_there(column), "1", "")


def records(plan: Plan, main: Sequence[Texts], rests: Sequence[tuple[Rest, Sequence[Texts]]]) -> pa.Table:
    """Records of the contract from a chunk's columns; `rests` are rows of other tables."""
    profile, count = plan.profile, len(main[0])
    filled: dict[str, pa.Array] = {}
    items, own = dict(profile.own_items()), dict[str, pa.Array]()
    for slot, places in plan.slots.items():
        columns: Sequence[Texts] = [main[place] for place in places]
        if slot in items:
            own[slot] = value_of(columns, items[slot], slot.partition(".")[2])
        elif slot == "is_deleted" and profile.deleted:
            filled[slot] = _deleted(columns[0], profile.deleted)
        else:
            filled[slot] = value_of(columns, profile.fields.get(slot), slot)
    for rest, columns in rests:
        name = rest.at.removeprefix("lists.").removeprefix("fields.")
        dossiers = pc.index_in(_joinable(columns[0]), value_set=_joinable(main[rest.place]))
        if isinstance(rest.child, Child):
            filled[name] = _lists(rest.child, name, columns[1:], dossiers, count)
        else:
            filled[name] = _any_row(value_of(columns[1:], rest.child, name), dossiers, count)
    for name in {at.partition(".")[0] for at in own}:
        said = {at.partition(".")[2]: column for at, column in own.items() if at.startswith(f"{name}.")}
        filled[name] = _listed(name, said, np.arange(count + 1, dtype=np.int32))
    arrays = [filled.get(field.name, pa.nulls(count, field.type)).cast(field.type) for field in SCHEMA]
    return pa.table(arrays, schema=SCHEMA)


def _joinable(keys: Texts) -> Texts:
    """Keys as databases compare them: many ignore case and trailing blanks, and the join was theirs."""
    return pc.utf8_upper(pc.utf8_rtrim_whitespace(keys))


def _any_row(found: pa.Array, dossiers: pa.Array, count: int) -> pa.Array:
    rows = dossiers.filter(found).drop_null()
    there = np.zeros(count, dtype=np.bool_)
    there[rows.to_numpy()] = True
    return pa.array(there)


def _lists(child: Child, name: str, columns: Sequence[Texts], dossiers: pa.Array, count: int) -> pa.Array:
    """A list per dossier from its child rows, in the order of the rows; an empty one where there are none."""
    place = 0
    fields: list[Sequence[Texts]] = []
    for value in child.fields.values():
        fields.append(columns[place : place + len(columns_of(value))])
        place += len(columns_of(value))
    rows = dossiers.drop_null().to_numpy()
    known = np.flatnonzero(pc.is_valid(dossiers).to_numpy(zero_copy_only=False))
    order = pa.array(known[np.argsort(rows, kind="stable")])
    offsets = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=count))]).astype(np.int32)
    said = {
        item: value_of(parts, value, item).take(order)
        for (item, value), parts in zip(child.fields.items(), fields, strict=True)
    }
    return _listed(name, said, offsets)


def _listed(name: str, said: Mapping[str, pa.Array], offsets: np.ndarray[Any, Any]) -> pa.Array:
    """The list field `name` of flat columns, cut at `offsets`; what nothing is said of is null."""
    kind = SCHEMA.field(name).type.value_type
    items = [said.get(item, pa.nulls(int(offsets[-1]), kind.field(item).type)) for item in LISTS[name]]
    inner = pa.StructArray.from_arrays(items, fields=[kind.field(item) for item in LISTS[name]])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), inner, type=SCHEMA.field(name).type)


def aware(value: Any, wanted: Wanted, zone: str) -> datetime:
    """A `modified` as the driver gave it (or COPY wrote it) as an instant."""
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=ZoneInfo(wanted.zone or zone))
    return moment.astimezone(UTC)
