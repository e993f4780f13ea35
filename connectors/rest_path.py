"""Where a value stands in JSON: the part of JSONPath that a profile may use, compiled to msgspec types.

Belongs here: reading such a path, the types that decode only what some paths name, and getting the
values out of them. Does not belong here: which paths a profile has (`rest_profile.py`), nor the columns
that are made of the values (`rest_map.py`).

The part (decision 24): `$` (the record; may be left out), `@` (the item itself), names separated by dots,
`['a name']`, `[n]` counted from either end, `[*]`, and `[?name == 'value']`. What no path names is
skipped by the decoder: an applicant never becomes an object of this process.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from operator import attrgetter
from typing import Any, Union

import msgspec

from connectors.records import text_of

_STEP = re.compile(
    r"""\.?(?P<name>[^\W\d][\w-]*)
      | \[\s*'(?P<quoted>[^']+)'\s*\]
      | \[\s*"(?P<doubled>[^"]+)"\s*\]
      | \[\s*(?P<star>\*)\s*\]
      | \[\s*(?P<place>-?\d+)\s*\]
      | \[\s*\?\s*\(?\s*(?:@\.)?(?P<where>[^\W\d][\w-]*)\s*==\s*(?P<value>'[^']*'|"[^"]*"|-?\d+)\s*\)?\s*\]
    """,
    re.VERBOSE,
)
#: Any scalar of JSON; where a scalar is wanted, in whatever spelling a source sends it.
_SCALARS: tuple[Any, ...] = (str, int, float, bool, None)


class PathError(ValueError):
    """A path cannot be read; the text shows where."""


@dataclass(frozen=True)
class Name:
    """The member of an object that is called so."""

    name: str


@dataclass(frozen=True)
class Place:
    """The item of an array at a place; from its end where negative."""

    place: int


@dataclass(frozen=True)
class Every:
    """Every item of an array."""


@dataclass(frozen=True)
class Where:
    """The items of an array whose member says just this."""

    name: str
    value: str


Step = Name | Place | Every | Where


@dataclass(frozen=True)
class Path:
    """A path that was read; `is_absolute`: it begins at the record (`$`) even within a list's item."""

    text: str
    steps: tuple[Step, ...]
    is_absolute: bool = False

    @classmethod
    def of(cls, text: str) -> Path:
        """Read a path; `PathError` shows how far it could be read."""
        body = text.strip()
        head = body[:1] if body[:1] in ("$", "@") else ""
        rest, steps = body[len(head) :], list[Step]()
        if not head and not rest:
            raise PathError("a path must not be empty; write $ for the whole")
        position = 0
        while position < len(rest):
            found = _STEP.match(rest, position)
            if found is None or (found["name"] and position and rest[position] != "."):
                read, left = body[: len(head) + position], rest[position:]
                raise PathError(f"{text!r} cannot be read after {read!r}, at {left!r} (e.g. a.b, a[0].b, a['b c'])")
            steps.append(_step(found))
            position = found.end()
        if any(not isinstance(one, Name) and not isinstance(two, Name) for one, two in pairwise(steps)):
            raise PathError(f"{text!r}: a list within a list cannot be read")
        return cls(body, tuple(steps), head == "$")

    @property
    def names(self) -> tuple[str, ...] | None:
        """The names alone, where the path has no other steps."""
        names = tuple(step.name for step in self.steps if isinstance(step, Name))
        return names if len(names) == len(self.steps) else None


def _step(found: re.Match[str]) -> Step:
    if found["star"]:
        return Every()
    if found["place"]:
        return Place(int(found["place"]))
    if found["where"]:
        return Where(found["where"], found["value"].strip("'\""))
    return Name(found["name"] or found["quoted"] or found["doubled"])


class Nothing(msgspec.Struct, gc=False):
    """An object of which no member is wanted: all of it is skipped."""


@dataclass
class Shape:
    """What is wanted below one place: members by name, in one object or in each object of a list.

    Lists are no level of their own: where a source sends a lone object for a list of one, or a list of
    one for an object, both are the same here. `is_presence`: it is asked only whether something is there.
    `kind`: decode it to just this, left unset where it is missing.
    """

    members: dict[str, Shape] = field(default_factory=dict)
    is_value: bool = False
    is_presence: bool = False
    kind: Any = None

    def add(self, steps: Iterable[Step], *, presence: bool = False) -> Shape:
        """Want what stands at the end of `steps`, and return its place."""
        here = self
        for step in steps:
            if isinstance(step, Where):
                here.members.setdefault(step.name, Shape()).is_value = True
            elif isinstance(step, Name):
                here = here.members.setdefault(step.name, Shape())
        here.is_presence, here.is_value = here.is_presence or presence, here.is_value or not presence
        return here

    def struct(self) -> type[msgspec.Struct]:
        """The type of an object at this place: the wanted members, each in any spelling, and no other."""
        if not self.members:
            return Nothing
        children = enumerate(self.members.values())
        fields = [(_field(at), child.type(), msgspec.UNSET if child.kind else None) for at, child in children]
        rename = {_field(index): name for index, name in enumerate(self.members)}
        return msgspec.defstruct("Wanted", fields, rename=rename, gc=False)

    def type(self) -> Any:
        """The type of whatever stands here."""
        if self.kind is not None:
            return self.kind
        if self.is_presence and not self.is_value and not self.members:
            return msgspec.Raw
        there: Any = self.struct()
        item: Any = Union[(*_SCALARS, there)]
        return Union[(*_SCALARS, there, list[item])]

    def attributes(self, names: Sequence[str]) -> tuple[str, ...]:
        """The attributes behind the members `names`, one below the other."""
        here, found = self, []
        for name in names:
            found.append(_field(list(here.members).index(name)))
            here = here.members[name]
        return tuple(found)


def _field(index: int) -> str:
    return f"f{index}"


@dataclass(frozen=True)
class Column:
    """Gets what stands at one path out of decoded objects."""

    steps: tuple[Step | tuple[str, ...], ...]
    #: Attributes one below the other, where the path has names alone.
    names: tuple[str, ...] | None
    _plain: attrgetter[Any] | None

    @classmethod
    def of(cls, path: Path, shape: Shape) -> Column:
        """`shape` must hold the path, and stay as it is from now on."""
        steps: list[Step | tuple[str, ...]] = []
        here = shape
        for step in path.steps:
            if isinstance(step, Name):
                steps.append(here.attributes((step.name,)))
                here = here.members[step.name]
            elif isinstance(step, Where):
                steps.append((*here.attributes((step.name,)), step.value))
            else:
                steps.append(step)
        names = shape.attributes(path.names) if path.names else None
        return cls(tuple(steps), names, attrgetter(".".join(names)) if names else None)

    def values(self, objects: Sequence[Any]) -> list[Any]:
        """What stands there in each object, the first where there are several; None where nothing does."""
        if self._plain is not None:
            try:
                return list(map(self._plain, objects))
            except AttributeError:
                pass  # an object on the way is missing, or is a list: looked at one by one
        return list(map(self.first, objects))

    def first(self, item: Any) -> Any:
        """What stands there in one object, the first where there are several; None where nothing does."""
        if self.names is None:
            return next(self.found(item), None)
        for name in self.names:
            if item.__class__ is list:
                item = item[0] if item else None
            item = getattr(item, name, None)
            if item is None:
                return None
        return item

    def found(self, item: Any) -> Iterator[Any]:
        """Everything that stands there in one object."""
        values = [item]
        for step in self.steps:
            values = list(_followed(values, step))
        return iter(values)


def _followed(values: Iterable[Any], step: Step | tuple[str, ...]) -> Iterator[Any]:
    for value in values:
        if isinstance(step, tuple):
            yield from _member(value, step)
        elif value is None:
            continue
        elif isinstance(step, Every):
            yield from value if isinstance(value, list) else [value]
        elif isinstance(step, Place):
            items = value if isinstance(value, list) else [value]
            if -len(items) <= step.place < len(items):
                yield items[step.place]


def _member(value: Any, step: tuple[str, ...]) -> Iterator[Any]:
    """The member of an object, or of the first object of a list; with a wanted text: the items whose member says it."""
    attribute, *wanted = step
    items = value if isinstance(value, list) else [value]
    if wanted:
        yield from (item for item in items if text(getattr(item, attribute, None)) == wanted[0])
    else:
        yield from (getattr(item, attribute) for item in items[:1] if hasattr(item, attribute))


def text(value: Any) -> str | None:
    """A scalar as the source would write it inside quotes; a list stands for its first item, an object says nothing."""
    if value is None or value.__class__ is str:
        return value
    if isinstance(value, list):
        return text(value[0]) if value else None
    return None if isinstance(value, msgspec.Struct | msgspec.Raw) else text_of(value)


_EMPTY = frozenset((b"", b"0", b"false", b"null", b"none"))


def stands(value: Any) -> bool:
    """Whether something is there: see `connectors.profiled.is_there`; a piece of JSON is not decoded for it."""
    if value is None:
        return False
    if isinstance(value, list):
        return bool(value)
    if isinstance(value, msgspec.Raw):
        piece = bytes(value).strip()
        if piece[:1] in (b"[", b"{"):
            return bool(piece[1:-1].strip())
        return _says(piece.strip(b'"'))
    return isinstance(value, msgspec.Struct) or _says(text_of(value).encode())


def _says(piece: bytes) -> bool:
    """Some systems join paths by "##", and leave that where there is none."""
    return piece.strip(b" #").lower() not in _EMPTY
