"""The field map of a profile: decoded records into columns of the record contract.

Belongs here: the type that decodes a record (mapped fields and nothing else), and the columns made of a
page of records, field by field. Does not belong here: how a path is read (`rest_path.py`), pages and
calls (`rest_walk.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain
from typing import Any

import msgspec
import pyarrow as pa

from connectors.profiled import PRESENCES, SCHEMA
from connectors.records import float_of
from connectors.rest_path import Column, Path, Shape, stands, text
from connectors.rest_profile import Coded, Const, Each, ListOrSource, Paid, RestProfile, Source, paths_of

#: Values of one field, in the order of the records.
Values = list[Any]


@dataclass(frozen=True)
class _Field:
    """How the values of one field come to be: the columns that are read, and what is made of them."""

    columns: tuple[Column, ...]
    made: Callable[[Sequence[Values]], Values]
    const: str | None = None

    def values(self, objects: Sequence[Any]) -> Values:
        if self.const is not None:
            return [self.const] * len(objects)
        return self.made([column.values(objects) for column in self.columns])


def _texts(columns: Sequence[Values]) -> Values:
    """The first column's text that says something; what only blank text was said of stays blank."""
    (first, *others) = ([v if v.__class__ is str or v is None else text(v) for v in column] for column in columns)
    for other in others:
        first = [mine if mine is not None and mine.strip() else (mine if theirs is None else theirs)
                 for mine, theirs in zip(first, other, strict=True)]  # fmt: skip
    return first


def _presences(columns: Sequence[Values]) -> Values:
    """Whether something is there at any of the paths."""
    return [any(map(stands, row)) for row in zip(*columns, strict=True)]


def _states(columns: Sequence[Values]) -> Values:
    """`settled` or `open` by what was paid of what was asked; `ValueError` where an amount is no number."""
    return [_state(paid, asked) for paid, asked in zip(*columns, strict=True)]


def _state(paid: Any, asked: Any) -> str:
    given, wanted = (0.0 if value is None else float_of(text(value)) or 0.0 for value in (paid, asked))
    return "settled" if given > 0 and given >= wanted else "open"


def _recoded(values: Mapping[str, str], columns: Sequence[Values]) -> Values:
    return [None if said is None else values.get(said.strip(), said) for said in _texts(columns)]


def _field(source: Source, shape: Shape, *, presence: bool) -> _Field:
    made: Callable[[Sequence[Values]], Values] = _texts
    if presence:
        made = _presences
    elif isinstance(source, Paid):
        made = _states
    elif isinstance(source, Coded):
        made = partial(_recoded, source.values)
    columns = tuple(Column.of(Path.of(path), shape) for path in paths_of(source))
    return _Field(columns, made, source.text if isinstance(source, Const) else None)


@dataclass(frozen=True)
class Items:
    """A list field: where its items stand, and their fields (`of_record`: those that the record itself says)."""

    name: str
    each: Column
    of_item: Mapping[str, _Field]
    of_record: Mapping[str, _Field]

    def array(self, records: Sequence[Any]) -> pa.Array:
        """One list per record, null where nothing stands."""
        found = [self._items(record) for record in records]
        counts = [len(items or ()) for items in found]
        flat = list(chain.from_iterable(items or () for items in found))
        columns = {name: field.values(flat) for name, field in self.of_item.items()}
        for name, field in self.of_record.items():
            spread = zip(field.values(records), counts, strict=True)
            columns[name] = [value for value, count in spread for _ in range(count)]
        return lists(self.name, columns, [None if items is None else len(items) for items in found])

    def _items(self, record: Any) -> list[Any] | None:
        if not self.each.steps:
            return [record] if self._says_something(record) else None
        found = [self.each.first(record)] if self.each.names else self.each.found(record)
        values = [value for value in found if value is not None]
        if not values:
            return None
        items = chain.from_iterable(value if isinstance(value, list) else [value] for value in values)
        if self._takes_scalars:
            return [item for item in items if (text(item) or "").strip()]
        return [item for item in items if isinstance(item, msgspec.Struct)]

    @cached_property
    def _takes_scalars(self) -> bool:
        """Whether a field is the item itself (`@`): then the items are no objects."""
        return any(not column.steps for field in self.of_item.values() for column in field.columns)

    def _says_something(self, record: Any) -> bool:
        """Whether the record, being its own item, says any of the item's fields: else there is no item."""
        columns = chain.from_iterable(field.columns for field in self.of_item.values())
        return any((text(column.first(record)) or "").strip() for column in columns)


def lists(name: str, columns: Mapping[str, Values], counts: Sequence[int | None]) -> pa.Array:
    """The list field `name` of flat columns: so many items per record, None for a record of which nothing is said."""
    kind = SCHEMA.field(name).type
    offsets = [0]
    for count in counts:
        offsets.append(offsets[-1] + (count or 0))
    nothing: Values = [None] * offsets[-1]
    children = [pa.array(columns.get(field.name, nothing), field.type) for field in kind.value_type]
    items = pa.StructArray.from_arrays(children, fields=list(kind.value_type)) if children else pa.array([])
    missing = pa.array([count is None for count in counts], pa.bool_())
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), items, type=kind, mask=missing)


class FieldMap:
    """The compiled map of one profile; `record` decodes one record, `key` and `changed` are its id and its date."""

    def __init__(self, profile: RestProfile) -> None:
        shape = Shape()
        for name, source in profile.fields.items():
            _want(shape, name, source)
        #: The members of a record that the profile reads.
        self.read = tuple(shape.members)
        self.record: Any = shape.struct()
        self.key = _field(_plain(profile.fields["record_id"]), shape, presence=False)
        changed = profile.fields.get("modified_at")
        self.changed = None if changed is None else _field(_plain(changed), shape, presence=False)
        self._fields: dict[str, _Field | Items] = {
            name: _items(name, source, shape)
            if isinstance(source, Each)
            else _field(source, shape, presence=name in PRESENCES)
            for name, source in profile.fields.items()
        }

    def columns(self, records: Sequence[Any]) -> pa.Table:
        """Records in the columns of the contract; what the profile does not map is null."""
        return pa.table([self._column(item, records) for item in SCHEMA], schema=SCHEMA)

    def _column(self, item: pa.Field, records: Sequence[Any]) -> pa.Array:
        field = self._fields.get(item.name)
        if field is None:
            return pa.nulls(len(records), item.type)
        return field.array(records) if isinstance(field, Items) else pa.array(field.values(records), item.type)


def _plain(source: ListOrSource) -> Source:
    if isinstance(source, Each):
        raise TypeError("a list where a single value is wanted")
    return source


def _want(shape: Shape, name: str, source: ListOrSource) -> None:
    """Put everything that a field reads into the shape of a record."""
    if not isinstance(source, Each):
        for path in paths_of(source):
            shape.add(Path.of(path).steps, presence=name in PRESENCES)
        return
    below = shape.add(Path.of(source.each).steps)
    want_items(shape, below, source.fields)


def want_items(record: Shape, item: Shape, fields: Mapping[str, Source]) -> None:
    """Put what the fields of a list read into the shapes of its items and of the record."""
    for name, source in fields.items():
        for path in map(Path.of, paths_of(source)):
            (record if path.is_absolute else item).add(path.steps, presence=name in PRESENCES)


def _items(name: str, source: Each, shape: Shape) -> Items:
    each = Path.of(source.each)
    below = shape.add(each.steps)
    return items_of(name, source.fields, Column.of(each, shape), record=shape, item=below)


def items_of(name: str, fields: Mapping[str, Source], each: Column, *, record: Shape, item: Shape) -> Items:
    """The list field `name`; its fields below `item`, those that begin with `$` below `record`."""
    of_item: dict[str, _Field] = {}
    of_record: dict[str, _Field] = {}
    for inner, source in fields.items():
        is_record = any(Path.of(path).is_absolute for path in paths_of(source))
        place = of_record if is_record else of_item
        place[inner] = _field(source, record if is_record else item, presence=inner in PRESENCES)
    return Items(name, each, of_item, of_record)


def mapped(profile: RestProfile) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Every mapped field of the contract with its paths, those of lists as `components.has_file`; for messages."""
    for name, source in profile.fields.items():
        if isinstance(source, Each):
            yield from ((f"{name}.{inner}", paths_of(each)) for inner, each in source.fields.items())
        else:
            yield name, paths_of(source)
