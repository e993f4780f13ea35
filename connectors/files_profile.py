"""What a profile of file drops says: which columns hold the fields of the record contract, and how files follow.

Belongs here: the shape of such a profile and what can be checked without a file. Does not belong here:
reading a file (`files_open.py`, `files_sheets.py`, `files_objects.py`), and the folder (`files.py`).

Columns are named as their heading reads, whatever its case, its spaces or its Unicode form. A heading of
several rows is named with ` / ` between them ("Ngày / Tiếp nhận"), a heading that stands there twice with
its number ("Ghi chú#2"), a field inside a JSON object with dots ("procedure.code").
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, field_validator, model_validator

from connectors.profiled import FIELDS, LISTS, PRESENCES, Profile

Name = Annotated[str, Field(min_length=1)]
#: Fields that hold codes: a number that a spreadsheet made of one has lost its leading zeros.
CODES = frozenset(
    {"record_id", "dossier_code", "national_code", "reference_uid", "procedure_code", "agency"}
    | {"components.component_code", "databases.code"}
)
#: Fields that hold đồng.
AMOUNTS = frozenset({"payments.amount_vnd", "fees.amount_vnd"})
#: How date cells and timestamps are written, so that one list of formats serves every kind of file.
ISO_FORMATS = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d")
_ORDER_GROUPS = ("year", "month", "day", "hour", "minute")


def name_key(text: object) -> str:
    """A heading as it is compared: NFC, one space between words, no case."""
    return " ".join(unicodedata.normalize("NFC", str(text)).split()).casefold()


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Const(_Part):
    """The same text in every record."""

    const: str | int


class Joined(_Part):
    """The texts of several columns (a day and a time of day) as one, `joined` between those that say something."""

    columns: Annotated[tuple[Name, ...], Field(min_length=2)]
    joined: str = " "


#: One column; several names of which the first that says something counts; a constant; columns joined.
Source = str | Annotated[tuple[Name, ...], Field(min_length=1)] | Const | Joined


class Items(_Part):
    """A list of a record. Its fields are columns of the row; with `each`, of the objects of that JSON list."""

    each: Name | None = None
    fields: Annotated[dict[str, Source], Field(min_length=1)]


class Order(_Part):
    """The moment a file stands for, by its name: `name` is a regular expression with the groups year, month, ….

    A group that it does not have is the first of its kind. Without an order, or for a name that it does not
    match, files follow each other by when they were last written.
    """

    name: str

    @field_validator("name")
    @classmethod
    def _readable(cls, value: str) -> str:
        groups = _pattern(value).groupindex
        if "year" not in groups or not set(groups) <= set(_ORDER_GROUPS):
            raise ValueError(f"needs the group (?P<year>…) and knows {', '.join(_ORDER_GROUPS)}")
        return value


class Replaces(_Part):
    """A later file replaces the slice that it holds: what the slice had before and the file has not, is gone.

    A slice is what `name`, a regular expression, captures of the file's name, or what `columns` say in a row.
    """

    name: str | None = None
    columns: tuple[Name, ...] = ()

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.name is None) == (not self.columns):
            raise ValueError("say either `name` or `columns`")
        if self.name is not None and _pattern(self.name).groups == 0:
            raise ValueError("name: captures nothing; put ( ) around what makes the slice")
        return self


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise ValueError(f"{text!r} is not a regular expression: {error}") from None


class FilesProfile(Profile):
    """Where the fields of the record contract stand in files.

    Every mapped column must be there, but those of the fields in `optional`: a heading that is spelt in
    another way would else empty a field in silence. `rows`: a row is a record (`one`), or rows that follow
    each other under one key are (`grouped`), the first saying what the record says and each giving an item
    to its lists. `patterns` are regular expressions that a code must match whole, `numeric` are codes that
    are plain numbers in their system, so that a number cell has lost nothing.
    """

    fields: Annotated[dict[str, Source], Field(min_length=1)]
    lists: dict[str, Items] = Field(default_factory=dict)
    rows: Literal["one", "grouped"] = "one"
    optional: tuple[str, ...] = ()
    numeric: tuple[str, ...] = ()
    patterns: dict[str, str] = Field(default_factory=dict)
    #: Sheets of a workbook that are read, by name; every sheet that has the headings when left out.
    sheets: tuple[Name, ...] = ()
    #: Row of the (first) heading, counted from 1, and how many rows it has; looked for when left out.
    header_row: PositiveInt | None = None
    header_rows: Annotated[int, Field(ge=1, le=5)] | None = None
    delimiter: Literal[",", ";", "\t", "|"] | None = None
    encoding: Literal["utf-8", "utf-16", "windows-1258"] = "utf-8"
    #: Where the list of records stands in a JSON document, names with dots; looked for when left out.
    records: Name | None = None
    order: Order | None = None
    replaces: Replaces | None = None

    @field_validator("dates")
    @classmethod
    def _with_iso(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return (*value, *(each for each in ISO_FORMATS if each not in value))

    @field_validator("patterns")
    @classmethod
    def _known_patterns(cls, value: dict[str, str]) -> dict[str, str]:
        for name, pattern in value.items():
            if name not in CODES:
                raise ValueError(f"{name}: not a field that holds a code ({', '.join(sorted(CODES))})")
            _pattern(pattern)
        return value

    @model_validator(mode="after")
    def _known_fields(self) -> Self:
        for name in self.fields:
            if name not in FIELDS:
                raise ValueError(f"fields.{name}: not a field of the record contract ({', '.join(sorted(FIELDS))})")
        if not {"record_id", "dossier_code"} & set(self.fields):
            raise ValueError("fields: record_id or dossier_code must be there, or no record can be told from another")
        for name, items in self.lists.items():
            if name not in LISTS:
                raise ValueError(f"lists.{name}: not a list of the record contract ({', '.join(LISTS)})")
            for item in items.fields:
                if item not in LISTS[name]:
                    raise ValueError(f"lists.{name}.fields.{item}: not one of {', '.join(LISTS[name])}")
            if items.each and self.rows == "grouped":
                raise ValueError(f"lists.{name}.each: a row with a list of its own cannot be `rows: grouped`")
        return self

    @model_validator(mode="after")
    def _mapped_fields(self) -> Self:
        filled = {at for at, _ in self.sources()}
        self.refuse_unfit(filled)
        if self.subject == "payment" and self.rows == "grouped":
            raise ValueError("rows: a payment is one row; `rows: grouped` makes several rows one record")
        for key, names in (("optional", self.optional), ("numeric", self.numeric), ("patterns", (*self.patterns,))):
            if unknown := sorted(set(names) - filled):
                raise ValueError(f"{key}: {unknown[0]} is not mapped")
        return self

    @property
    def key(self) -> str:
        """The field that names a record: its id, or its public code where the system shows none."""
        return "record_id" if "record_id" in self.fields else "dossier_code"

    def sources(self) -> Iterator[tuple[str, Source]]:
        """Every mapped field, `field` or `list.field`, with where it stands; those inside `each` included."""
        yield from self.fields.items()
        for name, items in self.lists.items():
            for item, source in items.fields.items():
                yield f"{name}.{item}", source

    def columns(self) -> Iterator[tuple[str, tuple[str, ...], bool]]:
        """What is looked for in the headings: field, the names of which one must be there, whether it must.

        Of columns that are joined each is its own entry; those inside a JSON list are left out.
        """
        for name, source in self.fields.items():
            yield from self._wanted(name, source)
        for name, items in self.lists.items():
            if items.each:
                yield f"{name}", (items.each,), False
                continue
            for item, source in items.fields.items():
                yield from self._wanted(f"{name}.{item}", source)
        for column in self.replaces.columns if self.replaces else ():
            yield "replaces", (column,), True

    def _wanted(self, at: str, source: Source) -> Iterator[tuple[str, tuple[str, ...], bool]]:
        names = names_of(source)
        groups = [(name,) for name in names] if isinstance(source, Joined) else [names] if names else []
        for group in groups:
            yield at, group, at not in self.optional


def names_of(source: Source) -> tuple[str, ...]:
    """The columns that a source is made of, in order."""
    if isinstance(source, Const):
        return ()
    if isinstance(source, Joined):
        return source.columns
    return (source,) if isinstance(source, str) else source


def is_presence(at: str) -> bool:
    """Whether of `field` or `list.field` only yes or no is kept."""
    return at.rsplit(".", 1)[-1] in PRESENCES
