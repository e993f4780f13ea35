"""Calls about single dossiers of the portal: their files, their payment, and whether they are still there.

Belongs here: the state machines of those calls. Does not belong here: the list (`opencps_list.py`), and
which dossiers are asked about (`opencps.py`).

The list is served from a search index that can run late; a dossier's own page comes from the database. An
unknown id is answered there with status 200 and an empty object, a deleted dossier by a negative originality.
"""

# ruff: noqa: N815  fields are named as the source names them
from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import msgspec

from connectors.opencps_records import DATES, FILE, PAYMENT, ensure_logged_in, is_deleted, is_listed, site_headers
from connectors.protocol import Call, Permanent, Reply, SourceError, Step, Transient, Walk
from connectors.records import coerce, int_of, struct_of

_FILES: msgspec.json.Decoder[Any] = msgspec.json.Decoder(
    msgspec.defstruct("Files", [("data", list[struct_of(FILE)] | None, None), ("total", int | None, None)])  # type: ignore[misc]
)
_PAYMENTS: msgspec.json.Decoder[Any] = msgspec.json.Decoder(struct_of(PAYMENT) | None)


class DetailWalk(Walk):
    """Files and payment of changed dossiers: two calls each, in any order."""

    def __init__(self, dossiers: Sequence[tuple[str, int]]) -> None:
        self._dossiers = tuple(dossiers)
        self.files: list[list[dict[str, Any]] | None] = [None] * len(self._dossiers)
        self.payments: list[dict[str, Any] | None] = [None] * len(self._dossiers)
        self.failed: dict[int, SourceError] = {}

    def begin(self) -> Sequence[Call]:
        """Both calls of every dossier."""
        return [
            Call(f"/dossiers/{dossier}/{what}", (), site_headers(site), (index, what))
            for index, (site, dossier) in enumerate(self._dossiers)
            for what in ("files", "payment")
        ]

    def accept(self, call: Call, reply: Reply) -> Step:
        """Keep the contract's fields of one answer."""
        ensure_logged_in(call, reply)
        index, what = call.tag
        try:
            if what == "files":
                self.files[index] = _files(reply.body)
            else:
                self.payments[index] = _payment(reply.body)
        except (msgspec.DecodeError, ValueError, UnicodeDecodeError):
            raise Transient(f"{call}: the answer cannot be read ({len(reply.body)} bytes)") from None
        return Step()

    def forgive(self, call: Call, error: SourceError) -> bool:
        """Yes while it concerns single dossiers: they go to quarantine; many at once is a failure of the source."""
        if isinstance(error, Permanent):
            return False
        self.failed[call.tag[0]] = error
        return len(self.failed) <= max(5, len(self._dossiers) // 20)


def _files(body: bytes) -> list[dict[str, Any]]:
    if not body.strip():
        return []
    return [coerce(item, FILE) for item in _FILES.decode(body).data or ()]


def _payment(body: bytes) -> dict[str, Any] | None:
    """The payment, or None for every way of saying that there is none."""
    found = _PAYMENTS.decode(body) if body.strip() else None
    payment = coerce(found, PAYMENT)
    return payment if payment and payment["paymentFileId"] else None


_Scalar = str | int | float | bool


class Detail(msgspec.Struct):
    """As much of a dossier's own page as says whether it is there, and where a list would show it."""

    dossierId: _Scalar | None = None
    originality: _Scalar | None = None
    originDossierId: _Scalar | None = None
    submitDate: str | None = None
    receiveDate: str | None = None

    @property
    def is_there(self) -> bool:
        """Whether the default list should hold it: known, not deleted, no copy of another dossier, no group."""
        originality, origin = _whole(self.originality), _whole(self.originDossierId)
        return bool(_whole(self.dossierId)) and not is_deleted(originality) and is_listed(originality, origin)

    def day(self, axis: str) -> date | None:
        """Its day on the axis "submit" or "receive", as the portal words it; None for none."""
        said = (self.submitDate if axis == "submit" else self.receiveDate) or ""
        try:
            return datetime.strptime(said.strip(), DATES[0]).date()  # noqa: DTZ007  the portal's own calendar
        except ValueError:
            return None


def _whole(value: _Scalar | None) -> int | None:
    return None if value is None else int_of(value)


_details = msgspec.json.Decoder(Detail)


def detail_call(site: int | str, dossier: int, tag: Any) -> Call:
    """Ask for a dossier's own page."""
    return Call(f"/dossiers/{dossier}", (), site_headers(site), tag)


def read_detail(call: Call, reply: Reply) -> Detail:
    """A dossier's own page; `Transient` when it is none."""
    ensure_logged_in(call, reply)
    try:
        detail = _details.decode(reply.body) if reply.body.strip() else Detail()
        _ = detail.is_there
    except (msgspec.DecodeError, ValueError, UnicodeDecodeError):
        raise Transient(f"{call}: the answer is not a dossier ({len(reply.body)} bytes)") from None
    return detail


class PresenceWalk(Walk):
    """Asks of each dossier whether the portal's database still has it; `gone` are the indexes of those it has not."""

    def __init__(self, dossiers: Sequence[tuple[str, int]]) -> None:
        self._dossiers = tuple(dossiers)
        self.gone: set[int] = set()
        self.unasked = 0

    def begin(self) -> Sequence[Call]:
        """One call per dossier."""
        return [detail_call(site, dossier, index) for index, (site, dossier) in enumerate(self._dossiers)]

    def accept(self, call: Call, reply: Reply) -> Step:
        """Take one dossier's page in."""
        if not read_detail(call, reply).is_there:
            self.gone.add(call.tag)
        return Step()

    def forgive(self, call: Call, error: SourceError) -> bool:  # noqa: ARG002
        """Yes for what may pass: a dossier that cannot be asked about stays, and is asked about again."""
        if isinstance(error, Permanent):
            return False
        self.unasked += 1
        return True
