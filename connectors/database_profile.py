"""What a profile of a database says: which tables and columns hold the fields of the record contract.

Belongs here: the shape of such a profile and what can be checked without a database. Does not belong
here: statements (`database_plan.py`), connections (`database_session.py`), or any one system
(`profiles/*.yaml`).

A profile names tables and columns and nothing else: no text of it ever becomes SQL, so that a profile
from elsewhere cannot do more than read what it names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator, model_validator

from connectors.profiled import FIELDS, LISTS, PRESENCES, Profile

Name = Annotated[str, Field(min_length=1)]
Scalar = bool | int | str | None


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Condition(_Part):
    """Rows whose `column` is, or is not, one of some values; `null` in the list stands for nothing said."""

    column: Name
    among: Annotated[tuple[Scalar, ...] | None, Field(alias="in", min_length=1)] = None
    not_among: Annotated[tuple[Scalar, ...] | None, Field(alias="not_in", min_length=1)] = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.among is None) == (self.not_among is None):
            raise ValueError(f"{self.column}: say either `in` or `not_in`")
        return self


class Joined(_Part):
    """The texts of several columns as one code, with `joined` between them; nothing said is blank."""

    columns: Annotated[tuple[Name, ...], Field(min_length=2)]
    joined: str = "/"


class Coded(_Part):
    """A column that says two things at once: each of its values is turned into another, any other into nothing."""

    column: Name
    values: Annotated[dict[str, str], Field(min_length=1)]


class OnlyWhere(_Part):
    """A column of the main table that speaks only where conditions hold."""

    column: Name
    where: Annotated[tuple[Condition, ...], Field(min_length=1)]


class AnyOf(_Part):
    """Whether one of the columns says that something is there."""

    any_of: Annotated[tuple[Name, ...], Field(min_length=1)]


class Pieces(_Part):
    """Whether one of the pieces of a text says that something is there ("a.pdf##b.pdf", "##")."""

    column: Name
    separator: Annotated[str, Field(min_length=1)]


class Rows(_Part):
    """Whether another table has a row of the dossier in which one of the columns says that something is there."""

    table: Name
    parent: Name
    any_of: Annotated[tuple[Name, ...], Field(min_length=1)]
    where: tuple[Condition, ...] = ()
    reference: Name | None = None
    key: Name
    modified: Name | None = None


Value = str | Joined | Coded | AnyOf | Pieces
_PRESENT = (AnyOf, Pieces, Rows)


class Lookup(_Part):
    """A row of `table` whose `key` is what `column` of the main table says; its columns are `<lookup>.<column>`."""

    table: Name
    key: Name
    column: Name


class Child(_Part):
    """The rows of another table that belong to a dossier: those whose `parent` is its `reference`.

    `reference` is a column of the main table, its key when left out. `key` orders the rows. `modified`
    says when a row changed; where it is left out, a change of a row shows only when its dossier changes too.
    """

    table: Name
    parent: Name
    reference: Name | None = None
    key: Name
    modified: Name | None = None
    where: tuple[Condition, ...] = ()
    fields: dict[str, Value]


class OwnRow(_Part):
    """A list of which the row itself is the one item: a payment that stands in a table of its own."""

    fields: Annotated[dict[str, Value], Field(min_length=1)]


def _where_items_stand(value: Any) -> str:
    """Which of both a list is, so that an error speaks of that one alone."""
    if isinstance(value, Mapping):
        return "own_row" if set(value) == {"fields"} else "rows"
    return "own_row" if isinstance(value, OwnRow) else "rows"


Listed = Annotated[Annotated[Child, Tag("rows")] | Annotated[OwnRow, Tag("own_row")], Discriminator(_where_items_stand)]


class Deleted(_Part):
    """The column that marks a deleted dossier: by saying anything, by being negative, or by saying true."""

    column: Name
    when: Literal["said", "negative", "true"]


class DatabaseProfile(Profile):
    """Where the fields of the record contract stand in a database.

    `table` is `name` or `schema.name`; `key` its unique column. Rows are read in the order of
    (`modified`, `key`); without `modified` the whole table is read every night. `zones` names columns
    whose instants are local to another zone than the profile's (audit columns are often UTC).
    """

    table: Name
    key: Name
    modified: Name | None = None
    where: tuple[Condition, ...] = ()
    deleted: Deleted | None = None
    zones: dict[str, str] = Field(default_factory=dict)
    lookups: dict[Annotated[str, Field(pattern=r"^[a-z_]+$")], Lookup] = Field(default_factory=dict)
    fields: Annotated[dict[str, Value | OnlyWhere | Rows], Field(min_length=1)]
    lists: dict[str, Listed] = Field(default_factory=dict)

    @field_validator("zones")
    @classmethod
    def _known_zones(cls, value: dict[str, str]) -> dict[str, str]:
        for column, zone in value.items():
            try:
                ZoneInfo(zone)
            except (KeyError, ValueError, OSError):
                raise ValueError(f"{column}: {zone!r} is not a time zone (e.g. UTC)") from None
        return value

    @model_validator(mode="after")
    def _known_fields(self) -> Self:
        filled = [*self.fields, *(["is_deleted"] if self.deleted else [])]
        for name in sorted(set(filled)):
            if name not in FIELDS:
                raise ValueError(f"fields.{name}: not a field of the record contract ({', '.join(sorted(FIELDS))})")
        if self.deleted and "is_deleted" in self.fields:
            raise ValueError("fields.is_deleted: said twice, the key `deleted` fills it")
        for name, value in self.fields.items():
            _refuse_misplaced(f"fields.{name}", name, value)
        for name, child in self.lists.items():
            if name not in LISTS:
                raise ValueError(f"lists.{name}: not a list of the record contract ({', '.join(LISTS)})")
            for item, value in child.fields.items():
                if item not in LISTS[name]:
                    raise ValueError(f"lists.{name}.fields.{item}: not one of {', '.join(LISTS[name])}")
                _refuse_misplaced(f"lists.{name}.fields.{item}", item, value)
        return self

    @model_validator(mode="after")
    def _fit(self) -> Self:
        self.refuse_unfit(
            {"record_id", *self.fields, *(["is_deleted"] if self.deleted else [])}
            | ({"modified_at"} if self.modified else set())
            | {f"{name}.{item}" for name, child in self.lists.items() for item in child.fields}
        )
        return self

    @model_validator(mode="after")
    def _known_lookups(self) -> Self:
        values = {f"fields.{name}": value for name, value in self.fields.items() if not isinstance(value, Rows)}
        values |= {f"lists.{at}": value for at, value in self.own_items()}
        for at, value in values.items():
            for column in columns_of(value):
                lookup, dot, _ = column.partition(".")
                if dot and lookup not in self.lookups:
                    raise ValueError(f"{at}: {column!r} names no lookup ({', '.join(self.lookups) or 'none'})")
        return self

    def own_items(self) -> Iterator[tuple[str, Value]]:
        """Fields of the lists whose one item is the row itself, as `payments.state`."""
        for name, listed in self.lists.items():
            if isinstance(listed, OwnRow):
                yield from ((f"{name}.{item}", value) for item, value in listed.fields.items())

    def tables(self) -> Iterator[tuple[str, Child | Rows]]:
        """Every table beside the main one whose rows make up a dossier, with its key in the profile."""
        for name, value in self.fields.items():
            if isinstance(value, Rows):
                yield f"fields.{name}", value
        for name, child in self.lists.items():
            if isinstance(child, Child):
                yield f"lists.{name}", child


def columns_of(value: Value | OnlyWhere | Rows) -> tuple[str, ...]:
    """The columns that a value is made of, in order."""
    if isinstance(value, str):
        return (value,)
    if isinstance(value, Joined):
        return value.columns
    return value.any_of if isinstance(value, AnyOf | Rows) else (value.column,)


def _refuse_misplaced(at: str, field: str, value: Value | OnlyWhere | Rows) -> None:
    if isinstance(value, _PRESENT) and field not in PRESENCES:
        raise ValueError(f"{at}: only {' and '.join(sorted(PRESENCES))} say whether something is there")
    if isinstance(value, Joined | Coded) and field in PRESENCES:
        raise ValueError(f"{at}: {field} takes a column, any_of, or a column with a separator")
