"""What a source must say for a record to be kept: wire columns, key, hash and clauses, all as data.

Belongs here: the classes of a record contract. Does not belong here: any source's contract (beside
its connector) nor the evaluation (one DuckDB statement in `assets/raw`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

#: Column beside the wire columns: order in which records of a batch were seen.
SEEN = "_seq"
#: Counted up when `person_fields` decides otherwise, so that what was set aside is read again.
PERSON_RULES = 2


@dataclass(frozen=True)
class Broken:
    """A record that never became columns. Raw bytes may hold a person, so only place, size and hash are kept."""

    where: str
    reason: str
    clause: str
    detail: str
    content_hash: str
    #: The code of the dossier that it names, where that could be read all the same.
    dossier_code: str | None = None


@dataclass(frozen=True)
class Clause:
    """One condition on a record: `predicate` is SQL over the wire columns, true when the record may be kept."""

    name: str
    predicate: str
    fields: tuple[str, ...]
    vi: str


@dataclass(frozen=True, kw_only=True)
class RecordContract:
    """The contract of one kind of record.

    `key` and `newest` are SQL over the wire columns. A batch may hold a record several times: with
    `position` unset the copy that is greatest in `newest` counts (the same dossier on two axes or
    pages); with `position` (a column that orders messages as they were sent) each is a version.
    `details` are columns that further calls fill; they are no part of the content hash.
    """

    kind: str
    schema: pa.Schema
    key: str
    clauses: tuple[Clause, ...]
    newest: str = f'"{SEEN}"'
    details: tuple[str, ...] = ()
    position: str | None = None
    #: Fields of a raw record that are read, where the columns have other names.
    wire: tuple[str, ...] = ()

    @property
    def hashed(self) -> tuple[str, ...]:
        """Columns that make the content hash, in declared order."""
        left_out = {*self.details, self.position}
        return tuple(name for name in self.schema.names if name not in left_out)

    @property
    def fields_read(self) -> frozenset[str]:
        """Names at the source that fill the columns."""
        return frozenset(self.wire or self.schema.names)

    @property
    def fingerprint(self) -> str:
        """Changes with everything that decides whether a record is kept."""
        parts = (
            self.kind,
            self.key,
            str(self.schema.remove_metadata()),
            f"persons {PERSON_RULES}",
            *(f"{c.name} {c.predicate}" for c in self.clauses),
        )
        return hashlib.md5("\0".join(parts).encode(), usedforsecurity=False).hexdigest()[:12]


def wire_field(name: str, kind: pa.DataType, vi: str, en: str) -> pa.Field:
    """A wire column with its meaning in both languages."""
    return pa.field(name, kind, metadata={"vi": vi, "en": en})


def said(name: str) -> str:
    """SQL: the text column says something."""
    return f"""coalesce(trim("{name}"), '') <> ''"""


def present(name: str, vi: str) -> Clause:
    """The text column must say something."""
    return Clause(f"{name}_present", said(name), (name,), f"Thiếu {vi} ({name})")


def any_said(name: str, fields: Iterable[str], vi: str) -> Clause:
    """At least one of the text columns must say something."""
    names = tuple(fields)
    return Clause(name, " OR ".join(said(field) for field in names), names, vi)


def readable_date(name: str, formats: tuple[str, ...], vi: str) -> Clause:
    """The text column is blank or a date in one of the source's formats (strptime)."""
    listing = ", ".join(f"'{item}'" for item in formats)
    predicate = f"""NOT ({said(name)}) OR try_strptime(trim("{name}"), [{listing}]) IS NOT NULL"""
    return Clause(f"{name}_readable", predicate, (name,), f"{vi} ({name}) không đúng định dạng ngày của nguồn")
