"""A reply of a list: its records decoded, and what it says of what follows.

Belongs here: taking a reply apart by the profile's paths, in one pass over its bytes. Does not belong
here: what is asked next (`rest_walk.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Optional, Union

import msgspec

from connectors.contract import Broken
from connectors.protocol import Call, Reply, Transient, ensure_usable
from connectors.records import Typed, flag_of, int_of, untyped
from connectors.rest_auth import ensure_well
from connectors.rest_map import FieldMap
from connectors.rest_path import Column, Path, Shape, text
from connectors.rest_profile import ListCall, RestProfile
from connectors.shape import EVERY, shape_of, together

#: What decoding a piece of JSON can raise; texts of these may quote a value, so they are never shown.
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, ValueError, OverflowError)
_KEY_NAME = re.compile(r"[A-Za-z_][\w-]{0,30}")
_NEXT_LINK = re.compile(r'<([^>]*)>\s*;[^,]*\brel="?next"?')


@dataclass(frozen=True)
class Page:
    """One reply: its decoded records and their keys, what could not be decoded, and what it says of the others."""

    records: Sequence[Any]
    broken: tuple[Broken, ...]
    keys: tuple[str | None, ...]
    dates: tuple[str | None, ...]
    total: int | None
    #: Whether it is the last one, where the reply says so.
    is_last: bool | None
    #: How many pages there are, where the reply says so.
    pages: int | None
    #: Token or address of the next page.
    next: str | None

    @property
    def rows(self) -> int:
        """Records of the reply, read or not."""
        return len(self.records) + len(self.broken)


class PageReader:
    """Takes replies of one profile's list apart."""

    def __init__(self, profile: RestProfile) -> None:
        self._list: ListCall = profile.list
        self.map = FieldMap(profile)
        self._envelope, self._columns = self._compiled(self.map.record)
        self._split, _ = self._compiled(msgspec.Raw)
        self._record: msgspec.json.Decoder[Any] = msgspec.json.Decoder(self.map.record)

    def _compiled(self, record: Any) -> tuple[msgspec.json.Decoder[Any], dict[str, Column]]:
        paging = self._list.paging
        wanted = {"records": self._list.records}
        for name in ("total", "last", "more", "pages", "next"):
            said = getattr(paging, name, None)
            if said is not None and not said.startswith("header:"):
                wanted[name] = said
        paths = {name: Path.of(said) for name, said in wanted.items()}
        shape = Shape()
        places = {name: shape.add(path.steps) for name, path in paths.items()}
        kind: Any = Union[list[record], None, msgspec.UnsetType]  # noqa: UP007
        places["records"].kind = kind if paths["records"].steps else Optional[list[record]]  # noqa: UP045
        return msgspec.json.Decoder(shape.type()), {name: Column.of(path, shape) for name, path in paths.items()}

    def page(self, call: Call, reply: Reply, where: str) -> Page:
        """Take a reply apart. Raises `Transient` for one that is no page; nothing of its content is told."""
        ensure_usable(call, reply)
        ensure_well(call, reply, self._list.error)
        broken: tuple[Broken, ...] = ()
        try:
            envelope = self._envelope.decode(reply.body)
            records = self._records(call, reply, envelope)
        except UNREADABLE:
            envelope, pieces = self._pieces(call, reply)
            records, broken = self._one_by_one(pieces, where)
        return Page(
            records=records,
            broken=broken,
            keys=(*self.map.key.values(records), *(f"#{one.content_hash}" for one in broken)),
            dates=tuple(self.map.changed.values(records)) if self.map.changed else (),
            total=self._total(call, reply, envelope),
            is_last=self._is_last(call, envelope),
            pages=self._whole(call, "pages", envelope),
            next=self._next(reply, envelope),
        )

    def _records(self, call: Call, reply: Reply, envelope: Any) -> list[Any]:
        found = next(self._columns["records"].found(envelope), msgspec.UNSET)
        if found is msgspec.UNSET:
            raise self._elsewhere(call, reply)
        return found or []

    def _pieces(self, call: Call, reply: Reply) -> tuple[Any, list[msgspec.Raw]]:
        try:
            envelope = self._split.decode(reply.body)
        except UNREADABLE:
            raise self._elsewhere(call, reply) from None
        return envelope, self._records(call, reply, envelope)

    def _elsewhere(self, call: Call, reply: Reply) -> Transient:
        """The error of a reply without the array of records: names of its members are told, no value is."""
        try:
            members = msgspec.json.decode(reply.body, type=dict[str, msgspec.Raw])
        except UNREADABLE:
            return Transient(f"{call}: the answer is not a page of dossiers ({len(reply.body)} bytes)", key="profile")
        names = [name for name in members if _KEY_NAME.fullmatch(name)][:10]
        return Transient(
            f"{call}: there is no array at list.records ({self._list.records!r}) in the answer, "
            f"which has {', '.join(names) or 'nothing'}",
            hint="Check list.records of the profile",
            key="profile",
        )

    def _one_by_one(self, pieces: Sequence[msgspec.Raw], where: str) -> tuple[list[Any], tuple[Broken, ...]]:
        records: list[Any] = []
        broken: list[Broken] = []
        for index, piece in enumerate(pieces):
            try:
                records.append(self._record.decode(piece))
            except UNREADABLE:
                broken.append(untyped(bytes(piece), f"{where}#{index}"))
        return records, tuple(broken)

    def typed(self, page: Page, body: bytes, where: str) -> Typed:
        """The page in columns; where one record cannot be (an amount that is no number), record by record."""
        pieces: list[msgspec.Raw] = next(self._columns["records"].found(self._split.decode(body)))
        shape = together(shape_of([bytes(piece)]) for piece in pieces[::EVERY])
        try:
            return Typed(self.map.columns(page.records), page.broken, shape=shape)
        except UNREADABLE:
            return replace(self._typed_singly(pieces, where), shape=shape)

    def _typed_singly(self, pieces: Sequence[msgspec.Raw], where: str) -> Typed:
        kept: list[Any] = []
        broken: list[Broken] = []
        for index, piece in enumerate(pieces):
            try:
                record = self._record.decode(piece)
                self.map.columns([record])
            except UNREADABLE:
                broken.append(untyped(bytes(piece), f"{where}#{index}"))
            else:
                kept.append(record)
        return Typed(self.map.columns(kept), tuple(broken))

    def _said(self, name: str, envelope: Any) -> str | None:
        return text(next(self._columns[name].found(envelope), None)) if name in self._columns else None

    def _whole(self, call: Call, name: str, envelope: Any) -> int | None:
        return _number(call, name, self._said(name, envelope))

    def _total(self, call: Call, reply: Reply, envelope: Any) -> int | None:
        said = getattr(self._list.paging, "total", None) or ""
        if said.startswith("header:"):
            return _number(call, "total", reply.headers.get(said.removeprefix("header:").strip().lower()))
        return self._whole(call, "total", envelope)

    def _is_last(self, call: Call, envelope: Any) -> bool | None:
        try:
            last, more = (None if (said := self._said(name, envelope)) is None else flag_of(said)
                          for name in ("last", "more"))  # fmt: skip
        except ValueError:
            raise Transient(f"{call}: paging.last or paging.more is neither yes nor no", key="profile") from None
        return last if last is not None else None if more is None else not more

    def _next(self, reply: Reply, envelope: Any) -> str | None:
        if "next" in self._columns:
            return (self._said("next", envelope) or "").strip() or None
        if self._list.paging.kind == "link":
            return next(_links(reply), None)
        return None


def _links(reply: Reply) -> Iterator[str]:
    yield from _NEXT_LINK.findall(reply.headers.get("link", ""))


def _number(call: Call, name: str, said: str | None) -> int | None:
    try:
        return None if said is None else int_of(said)
    except ValueError:
        raise Transient(f"{call}: paging.{name} is no whole number in the answer", key="profile") from None
