"""What a dropped file is called in cursors, positions and messages: by its name, unless that may hold a person.

Belongs here: the call name, and what of it a cursor remembers. Does not belong here: which names may hold a person
(whoever reads a folder says so, for its files have names of their own kind), the key (whoever opens it brings the
hashes), nor when a file was read before (`known_files.py`).

Positions of stored records hold what their file is called and say which of two is the newer one, so a file is called
the same for ever. Its name cannot be stored, so the file is recognised by the keyed hash of its name, which its cursor
remembers (`NAMED`) beside the mark that it was given when it was first seen (`MARK`). When the key is replaced, the
hash of before is recognised for one turn and the one of today takes its place; the mark, of which nobody has the key
any more, stays. A file that was not there for a whole turn is a new one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from connectors.person_fields import masked

#: Of a cursor: the hash of the file's name under the key of the last night, and what stands in the name's place.
NAMED, MARK = "named", "mark"
_LENGTH = 8

#: The hashes of a name by which it may be remembered, today's first; none where nothing is remembered.
Hashes = Callable[[str], Sequence[str]]


def _none(_name: str) -> Sequence[str]:
    return ()


@dataclass(frozen=True)
class Called:
    """What a file is called, and what its cursor remembers for that (nothing where it is its name)."""

    name: str
    memory: Mapping[str, str] = field(default_factory=dict)

    def is_remembered(self, position: Mapping[str, Any]) -> bool:
        """Whether the file's cursor says already what it is recognised by the next night."""
        return all(position.get(key) == value for key, value in self.memory.items())


@dataclass(frozen=True)
class FileNames:
    """The call names of one folder's files. Without `hashes` a name is told by its length, for messages alone."""

    hashes: Hashes = _none
    #: Hash of a name → the mark that stands in its place.
    marks: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, hashes: Hashes, cursors: Mapping[str, Mapping[str, Any]]) -> FileNames:
        """The names that the stored `cursors` of a folder (stream → position) remember."""
        return cls(hashes, {each[NAMED]: each[MARK] for each in cursors.values() if NAMED in each})

    def call(self, name: str, *, number: str = "") -> Called:
        """What a file is called whose name may hold a person; `number` is the harmless beginning of it, to sort by."""
        hashes = self.hashes(name)
        mark = next((self.marks[each] for each in hashes if each in self.marks), None)
        mark = mark or (hashes[0][:_LENGTH] if hashes else masked(name))
        memory = {NAMED: hashes[0], MARK: mark} if hashes else {}
        return Called(f"{number}(tên có thông tin cá nhân {mark}){ending(name)}", memory)


def ending(name: str) -> str:
    """The extension of a file's name, in small letters; of one that is no extension, but words, nothing."""
    suffix = PurePosixPath(name).suffix.lower()
    return suffix if re.fullmatch(r"\.[a-z0-9]{1,8}", suffix) else ""
