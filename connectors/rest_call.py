"""Calls of a profile's list: where parameters go, and what each way of paging asks for next.

Belongs here: making `Call`s. Does not belong here: when a list has ended (`rest_walk.py`), and signing in
(`rest_auth.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

import msgspec

from connectors.protocol import Call, Permanent
from connectors.rest_page import Page
from connectors.rest_path import text
from connectors.rest_profile import CursorPaging, LinkPaging, ListCall, OffsetPaging, PagePaging, RestProfile

JSON = (("Content-Type", "application/json"), ("Accept", "application/json"))
_FORM = (("Content-Type", "application/x-www-form-urlencoded"), ("Accept", "application/json"))
_QUERY = (("Accept", "application/json"),)

#: Where in the list a page begins: rows before it, its number, a token, an address; None is the beginning.
Position = int | str | None


class Calls:
    """Makes the calls of one profile's list. `base_path` is the path of the settings' base_url."""

    def __init__(self, profile: RestProfile, *, origin: str, base_path: str, page_rows: int) -> None:
        self.list: ListCall = profile.list
        self.origin = origin
        self.rows = page_rows
        self._path = f"{base_path}{profile.list.path}"
        self._headers = tuple({**profile.headers, **profile.list.headers}.items())

    @property
    def first(self) -> Position:
        """Where the first page begins."""
        paging = self.list.paging
        return paging.first if isinstance(paging, OffsetPaging | PagePaging) else None

    def call(self, narrowed: Mapping[str, Any], position: Position, tag: Any) -> Call:
        """The page at a position of the list that `narrowed` (the parameters of a window) leaves."""
        if isinstance(self.list.paging, LinkPaging) and isinstance(position, str):
            return self._linked(position, tag)
        params = {**self.list.params, **narrowed, **self._paged(position)}
        if self.list.send == "query":
            return Call(self._path, _pairs(params), (*_QUERY, *self._headers), tag, self.list.method)
        if self.list.send == "form":
            content = urlencode(_pairs(params)).encode()
            return Call(self._path, (), (*_FORM, *self._headers), tag, self.list.method, content)
        content = msgspec.json.encode(_nested(params))
        return Call(self._path, (), (*JSON, *self._headers), tag, self.list.method, content)

    def _paged(self, position: Position) -> dict[str, Any]:
        match self.list.paging:
            case OffsetPaging(start=start, limit=str(limit)):
                return {start: position, limit: self.rows}
            case OffsetPaging(start=start, end=str(end)):
                return {start: position, end: int(position or 0) + self.rows}
            case PagePaging(page=page, size=size):
                return {page: position} | ({size: self.rows} if size else {})
            case CursorPaging(cursor=cursor, size=size):
                return ({} if position is None else {cursor: position}) | ({size: self.rows} if size else {})
            case LinkPaging(size=str(size)):
                return {size: self.rows}
        return {}

    def following(self, call: Call, position: Position, page: Page) -> Position:
        """Where the page after `page` begins; None where the reply names none.

        An offset goes on by the rows that came, since a server may give fewer than were asked for.
        """
        match self.list.paging:
            case OffsetPaging():
                return int(position or 0) + page.rows
            case PagePaging():
                return int(position or 0) + 1
            case LinkPaging():
                return None if page.next is None else self._address(call, page.next)
            case CursorPaging():
                return page.next
        return None

    def _address(self, call: Call, link: str) -> str:
        """The address of a link, which may be relative; `Permanent` where it leads to another server."""
        address = urljoin(f"{self.origin}{call.path}", link)
        parts = urlsplit(address)
        if f"{parts.scheme}://{parts.netloc}" != self.origin:
            raise Permanent(
                f"{call}: the link to the next page leads to another server, and is not followed",
                hint="What is shown with each call is meant for base_url alone",
            )
        return address

    def _linked(self, address: str, tag: Any) -> Call:
        parts = urlsplit(address)
        pairs = tuple(parse_qsl(parts.query, keep_blank_values=True))
        return Call(parts.path, pairs, (*_QUERY, *self._headers), tag, self.list.method)


def _pairs(params: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple((name, said) for name, value in params.items() if (said := text(value)) is not None)


def _nested(params: Mapping[str, Any]) -> dict[str, Any]:
    """Names with dots as objects within objects."""
    body: dict[str, Any] = {}
    for name, value in params.items():
        *way, last = name.split(".")
        here = body
        for step in way:
            here = here.setdefault(step, {})
        here[last] = value
    return body
