"""Further calls for changed records: what a list does not carry, such as fee lines or papers.

Belongs here: making these calls, and laying their lines beside what the list said. Does not belong here:
the list itself (`rest_walk.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Optional, Union
from urllib.parse import quote

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from connectors.contract import Broken
from connectors.loop import Loop
from connectors.profiled import LISTS
from connectors.protocol import Call, Completed, Reply, Step, Transient, Walk, ensure_usable
from connectors.rest_auth import ensure_well
from connectors.rest_map import Items, items_of, lists, want_items
from connectors.rest_page import UNREADABLE
from connectors.rest_path import Column, Path, Shape, text
from connectors.rest_profile import Details

_RECORD_ID = "{record_id}"


class DetailWalk(Walk):
    """Lines of the given records, `batch` records a call; `lines` holds decoded lines by record id."""

    def __init__(self, details: Details, ids: Sequence[str], *, base_path: str, headers: Mapping[str, str]) -> None:
        self._details, self._ids = details, tuple(ids)
        self._base, self._headers = base_path, (("Accept", "application/json"), *headers.items())
        line, whole = Shape(), Shape()
        for fields in details.lists.values():
            want_items(line, line, fields)
        belongs = Path.of(details.belongs_to) if details.belongs_to else None
        if belongs is not None:
            line.add(belongs.steps)
        place = whole.add(Path.of(details.records).steps)
        place.kind = Optional[Union[list[line.struct()], line.struct()]]  # type: ignore[misc]  # noqa: UP007, UP045
        self.items = {name: _items(name, details, line) for name in details.lists}
        self._belongs = Column.of(belongs, line) if belongs is not None else None
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(whole.type())
        self._lines = Column.of(Path.of(details.records), whole)
        self.lines: dict[str, list[Any]] = {key: [] for key in self._ids}

    def begin(self) -> Sequence[Call]:
        """One call per batch of records."""
        starts = range(0, len(self._ids), self._details.batch)
        return [self._call(self._ids[start : start + self._details.batch]) for start in starts]

    def _call(self, ids: tuple[str, ...]) -> Call:
        path = self._details.path.replace(_RECORD_ID, quote(ids[0], safe=""))
        pairs = [(name, said) for name, value in self._details.params.items() if (said := text(value)) is not None]
        if self._details.param is not None:
            pairs.append((self._details.param, ",".join(ids)))
        return Call(f"{self._base}{path}", tuple(pairs), self._headers, ids)

    def accept(self, call: Call, reply: Reply) -> Step:
        """Keep the lines of one batch."""
        ensure_usable(call, reply)
        ensure_well(call, reply, self._details.error)
        try:
            found = next(self._lines.found(self._decoder.decode(reply.body)), None) if reply.body.strip() else None
        except UNREADABLE:
            told = f"{call}: the answer is no list of details ({len(reply.body)} bytes)"
            raise Transient(told, key="profile") from None
        lines = [] if found in (None, msgspec.UNSET) else found if isinstance(found, list) else [found]
        owners = [text(value) for value in self._belongs.values(lines)] if self._belongs else [call.tag[0]] * len(lines)
        if strangers := sum(owner not in call.tag for owner in owners):
            raise Transient(f"{call}: {strangers} lines name no record that was asked for", key="profile")
        for owner, line in zip(owners, lines, strict=True):
            self.lines[str(owner)].append(line)
        return Step()


def _items(name: str, details: Details, line: Shape) -> Items:
    return items_of(name, details.lists[name], Column.of(Path.of("@"), line), record=line, item=line)


async def completed(
    loop: Loop, details: Details, records: pa.Table, *, base_path: str, headers: Mapping[str, str]
) -> Completed:
    """`records` with the lists that the details fill; those with an amount that is no number become broken."""
    ids = [str(value) for value in records["record_id"].to_pylist()]
    walk = DetailWalk(details, list(dict.fromkeys(ids)), base_path=base_path, headers=headers)
    async for _ in loop.run(walk):
        pass
    usable = [key for key in walk.lines if _is_usable(walk, walk.lines[key])]
    kept = pc.is_in(records["record_id"], value_set=pa.array(usable, pa.string()))
    refused = records.filter(pc.invert(kept))
    records = records.filter(kept)
    ids = records["record_id"].to_pylist()
    for name, items in walk.items.items():
        index = records.schema.get_field_index(name)
        array = _merged(name, items, [walk.lines[key] for key in ids], records[name].to_pylist())
        records = records.set_column(index, records.schema.field(index), array)
    return Completed(records, tuple(_broken(row) for row in refused.select(["record_key", "content_hash"]).to_pylist()))


def _is_usable(walk: DetailWalk, lines: Sequence[Any]) -> bool:
    try:
        for items in walk.items.values():
            for field in items.of_item.values():
                field.values(lines)
    except ValueError:
        return False
    return True


def _broken(row: Mapping[str, Any]) -> Broken:
    return Broken(
        where=row["record_key"],
        reason="unreadable_details",
        clause="json",
        detail="Chi tiết của hồ sơ có số tiền không phải là số",
        content_hash=row["content_hash"],
    )


def _merged(name: str, items: Items, lines: Sequence[Sequence[Any]], held: Sequence[Any]) -> pa.Array:
    """The list field of all records: their lines, with what only the list said taken from its first item."""
    flat = [line for each in lines for line in each]
    columns = {field: of.values(flat) for field, of in items.of_item.items()}
    spoken = list(_spread(held, lines))
    for field in LISTS[name]:
        if field not in columns:
            columns[field] = [said.get(field) for said in spoken]
    return lists(name, columns, [len(each) for each in lines])


def _spread(held: Sequence[Any], lines: Sequence[Sequence[Any]]) -> Iterator[Mapping[str, Any]]:
    for said, each in zip(held, lines, strict=True):
        for _ in each:
            yield said[0] if said else {}
