"""Which fields a source's records carry and what kind of value stands in them: how drift is noticed.

Belongs here: looking at a sample of raw records. Does not belong here: what was seen on earlier nights
and what is told of a change (`assets/raw/drift.py`). Values are never looked at, only their first byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

import msgspec

from connectors.person_fields import tells_person

#: Of a page the first record is looked at, and then one in so many: looking costs about as much as typing.
EVERY = 50
_NAME = re.compile(r"[@$]?[A-Za-z_][A-Za-z0-9_.$-]{0,59}")
_KINDS = {b'"': "text", b"{": "object", b"[": "list", b"t": "flag", b"f": "flag", b"n": "null"}
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])

#: Field → kinds of value seen in it.
Shape = Mapping[str, frozenset[str]]


def shape_of(records: Sequence[bytes]) -> Shape:
    """The shape of a sample of raw JSON records; one that is no object is left to those who type it."""
    seen: dict[str, set[str]] = {}
    for record in records[::EVERY]:
        try:
            fields = _fields.decode(record)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        for name, piece in fields.items():
            seen.setdefault(_told(name), set()).add(_KINDS.get(bytes(piece)[:1], "number"))
    return {name: frozenset(kinds) for name, kinds in seen.items()}


def together(shapes: Iterable[Shape]) -> Shape:
    """What all of `shapes` show."""
    seen: dict[str, frozenset[str]] = {}
    for shape in shapes:
        for name, kinds in shape.items():
            seen[name] = seen.get(name, frozenset()) | kinds
    return seen


def _told(name: str) -> str:
    """A field's name; one that no program would choose may hold anything, and only its length is told."""
    return name if _is_name(name) else f"«{len(name)}»"


@lru_cache(maxsize=4096)
def _is_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None and not re.search(r"\d{6}", name) and not tells_person(name)
