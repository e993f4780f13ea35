"""From a profile and the tables that are really there to statements: always a SELECT, built by SQLAlchemy Core.

Belongs here: finding the profile's tables and columns, what each column holds, and the statements of one
chunk. Does not belong here: running them (`database_session.py`), or the columns of the record contract
(`database_columns.py`).

Chunks are cut by keyset, never by OFFSET: rows after (modified, key) of the last one, so many at most.
SQL Server compares no tuples, so the condition is written out; `modified >= m` stands first, because an
index on `modified` serves it and not an OR.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects import mssql
from sqlalchemy.sql.elements import ColumnElement

from connectors.database_profile import Child, Condition, DatabaseProfile, OnlyWhere, Rows, Value, columns_of
from connectors.protocol import Permanent

Kind = Literal["text", "whole", "flag", "instant", "aware", "day"]
#: Rows whose `modified` is before this, or null, are undated: .NET writes 0001-01-01, MySQL 0000-00-00, others 1900.
FIRST_DATED = datetime(1971, 1, 1)  # noqa: DTZ001  compared with columns that have no zone
#: (schema, table) as the profile says them → (schema, table, columns) as they are there; None when they are not.
Found = tuple[str | None, str, Mapping[str, sa.types.TypeEngine[Any]]]
Catalogue = Callable[[str | None, str], Found | None]
Predicate = ColumnElement[bool]


@dataclass(frozen=True)
class Wanted:
    """A column of a statement: what it holds, and the zone of its instants (blank: the profile's)."""

    element: ColumnElement[Any]
    kind: Kind
    zone: str = ""


@dataclass(frozen=True)
class Query:
    """A SELECT and what its columns hold, in order."""

    statement: sa.Select[Any]
    wanted: tuple[Wanted, ...]


@dataclass(frozen=True)
class Position:
    """Where a chunk ended: `modified` (None among the undated) and key of its last row, as the driver gave them."""

    modified: Any
    key: Any


@dataclass(frozen=True)
class Rest:
    """The rows of `child` whose dossiers a chunk holds: first its parent, then the columns of `slots`, in order."""

    at: str
    child: Child | Rows
    table: sa.TableClause
    reference: ColumnElement[Any]
    #: Where the reference stands among the columns of `records`.
    place: int
    slots: tuple[str, ...]


class Plan:
    """The statements of one profile over the tables that are there.

    Raises `Permanent` that names the profile's key, the table and the column where they are not.
    """

    def __init__(
        self, profile: DatabaseProfile, catalogue: Catalogue, *, dialect: str, schema: str | None = None
    ) -> None:
        self.profile = profile
        self._catalogue = catalogue
        self._dialect = dialect
        self._schema = schema
        #: Column → kind of every table that the profile names, and those of the columns that it reads.
        self.shape: dict[str, frozenset[str]] = {}
        self.read: set[str] = set()
        self.main = self.table(profile.table, "table")
        self.key = self._column(self.main, profile.key, "key")
        self.modified = None if profile.modified is None else self._instant(self.main, profile.modified, "modified")
        self._lookups = {
            name: (self.table(lookup.table, f"lookups.{name}.table").alias(name), lookup)
            for name, lookup in profile.lookups.items()
        }
        self._wants: list[Wanted] = [self.plain(self.key)]
        if self.modified is not None:
            self._wants.append(self.plain(self.modified))
        #: Field of the record → places of the columns that it is made of, among those of `records`.
        self.slots = {slot: self._field(slot, columns) for slot, columns in self._said().items()}
        self.rests = tuple(self._rest(at, child) for at, child in profile.tables())
        self._where = [self._condition(self.main, each, "where") for each in profile.where]

    # What is there.

    def table(self, name: str, at: str) -> sa.TableClause:
        """The table that the profile names at key `at`."""
        schema, _, bare = name.rpartition(".")
        found = self._catalogue(self._schema or schema or None, bare)
        if found is None:
            place = f" in schema {self._schema or schema}" if self._schema or schema else ""
            hint = "Correct the profile, or let the account read the table; `schema` says where all tables stand"
            raise Permanent(f"profile key {at}: no table {bare!r}{place}", hint=hint, key="profile")
        real_schema, real_name, columns = found
        self.shape |= {f"{real_name}.{column}": frozenset({kind_of(kind)}) for column, kind in columns.items()}
        typed = [sa.column(column, kind) for column, kind in columns.items()]
        return sa.table(real_name, *typed, schema=real_schema)

    def _column(self, table: sa.FromClause, name: str, at: str) -> ColumnElement[Any]:
        exact = table.c.get(name)
        found = exact if exact is not None else next((c for c in table.c if c.name.lower() == name.lower()), None)
        if found is None:
            named = getattr(table, "fullname", None) or getattr(getattr(table, "element", table), "fullname", "?")
            hint = "It was renamed or dropped, or the account may not read it; correct the profile"
            raise Permanent(f"profile key {at}: table {named} has no column {name!r}", hint=hint, key="profile")
        if isinstance(found.type, sa.LargeBinary):
            raise Permanent(f"profile key {at}: column {name!r} holds binary content, which is not read", key="profile")
        self.read.add(f"{getattr(getattr(table, 'element', table), 'name', '')}.{found.name}")
        return found

    def _instant(self, table: sa.FromClause, name: str, at: str) -> ColumnElement[Any]:
        column = self._column(table, name, at)
        if not isinstance(column.type, sa.DateTime):
            said = f"profile key {at}: column {name!r} is {column.type}, not a date with a time"
            raise Permanent(said, key="profile")
        return column

    # Columns of the record.

    def _said(self) -> dict[str, tuple[str, ...]]:
        """Field → columns that it is made of, as the profile says them; what the main table fills.

        Of a list whose one item is the row itself each field stands alone, as `payments.state`.
        """
        profile = self.profile
        slots: dict[str, tuple[str, ...]] = {"record_id": (profile.key,)}
        if profile.modified:
            slots["modified_at"] = (profile.modified,)
        slots |= {name: columns_of(value) for name, value in profile.fields.items() if not isinstance(value, Rows)}
        slots |= {at: columns_of(value) for at, value in profile.own_items()}
        if profile.deleted:
            slots["is_deleted"] = (profile.deleted.column,)
        return slots

    def _field(self, slot: str, columns: Sequence[str]) -> tuple[int, ...]:
        at = f"lists.{slot}" if "." in slot else f"fields.{slot}"
        at = "deleted.column" if slot == "is_deleted" and self.profile.deleted else at
        wanted = [self._main_column(column, at) for column in columns]
        value = self.profile.fields.get(slot)
        if isinstance(value, OnlyWhere):
            holds = sa.and_(*(self._condition(self.main, each, f"{at}.where") for each in value.where))
            wanted = [Wanted(sa.case((holds, each.element)), each.kind, each.zone) for each in wanted]
        return tuple(self._place(each) for each in wanted)

    def _place(self, wanted: Wanted) -> int:
        """The column's place among those that are selected; each is selected once."""
        for place, known in enumerate(self._wants):
            if known.element is wanted.element and known.kind == wanted.kind:
                return place
        self._wants.append(wanted)
        return len(self._wants) - 1

    def plain(self, column: ColumnElement[Any]) -> Wanted:
        """A column as it stands, with what it holds."""
        return Wanted(column, kind_of(column.type), self.profile.zones.get(_written(self.profile, column), ""))

    def _main_column(self, name: str, at: str) -> Wanted:
        lookup, dot, column = name.partition(".")
        return self._wanted(self._lookups[lookup][0], column, at) if dot else self._wanted(self.main, name, at)

    def _wanted(self, table: sa.FromClause, name: str, at: str) -> Wanted:
        column = self._column(table, name, at)
        kind = kind_of(column.type)
        if kind == "aware" and self._dialect == "postgresql":
            # The server turns it into local time, however its text is fetched.
            local: ColumnElement[Any] = sa.func.timezone(self.profile.zone, column)
            return Wanted(local, "instant")
        return self.plain(column)

    def _rest(self, at: str, child: Child | Rows) -> Rest:
        table = self.table(child.table, f"{at}.table")
        reference = self.key if child.reference is None else self._column(self.main, child.reference, f"{at}.reference")
        for name, key in ((child.parent, "parent"), (child.key, "key"), *((c.column, "where") for c in child.where)):
            self._column(table, name, f"{at}.{key}")
        if child.modified:
            self._instant(table, child.modified, f"{at}.modified")
        values: Mapping[str, Value | Rows] = child.fields if isinstance(child, Child) else {"": child}
        slots = [column for value in values.values() for column in columns_of(value)]
        for name in slots:
            self._column(table, name, f"{at}.fields" if isinstance(child, Child) else f"{at}.any_of")
        return Rest(at, child, table, reference, self._place(self.plain(reference)), tuple(slots))

    # Which rows.

    def dated(self, start: datetime, *, after: Position | None, stop: datetime | None = None) -> Predicate:
        """Rows modified from `start` on (before `stop`, if given) that come after a position; both in the column's
        own terms (`in_terms_of`).
        """
        modified = self.dated_by
        parts = self._after(modified, self.key, after) if after else [modified >= self._bound(start, modified)]
        if stop is not None:
            parts.append(modified < self._bound(stop, modified))
        return sa.and_(*parts)

    def undated(self, after: Position | None) -> Predicate:
        """Rows without a usable `modified` (every row, where the profile names none), after a position's key."""
        parts: list[Predicate] = []
        if self.modified is not None:
            first = in_terms_of(self.modified.type, FIRST_DATED)
            parts.append(sa.or_(self.modified.is_(None), self.modified < self._bound(first, self.modified)))
        if after is not None:
            parts.append(self.key > after.key)
        return sa.and_(sa.true(), *parts) if parts else sa.true()

    def named(self, reference: ColumnElement[Any], keys: Sequence[Any]) -> Predicate:
        """Rows whose `reference` is one of `keys`."""
        return reference.in_(keys)

    def upto(self, which: Predicate, last: Position) -> Predicate:
        """The rows of `which` up to and including `last`."""
        if last.modified is None:
            return sa.and_(which, self.key <= last.key)
        modified = self.dated_by
        bound = self._bound(last.modified, modified)
        return sa.and_(which, modified <= bound, sa.or_(modified < bound, self.key <= last.key))

    def _after(self, modified: ColumnElement[Any], key: ColumnElement[Any], after: Position) -> list[Predicate]:
        bound = self._bound(after.modified, modified)
        return [modified >= bound, sa.or_(modified > bound, key > after.key)]

    def _bound(self, value: Any, column: ColumnElement[Any]) -> ColumnElement[Any]:
        bound = sa.bindparam(None, value, type_=column.type)
        # A `datetime` of SQL Server counts in 1/300 s and is never equal to the milliseconds that a driver sends.
        return sa.cast(bound, column.type) if self._dialect == "mssql" else bound

    @property
    def dated_by(self) -> ColumnElement[Any]:
        """The main table's `modified`; only for profiles that name one."""
        if self.modified is None:
            raise ValueError("the profile names no modified column")
        return self.modified

    def _condition(self, table: sa.FromClause, condition: Condition, at: str) -> Predicate:
        column = self._column(table, condition.column, at)
        said = condition.among if condition.among is not None else condition.not_among or ()
        values = [_typed(value, column.type) for value in said if value is not None]
        with_null = None in said
        if condition.among is not None:
            parts = [column.in_(values)] if values else []
            return sa.or_(*parts, *([column.is_(None)] if with_null else []))
        inside = [column.not_in(values)] if values else []
        if with_null:
            return sa.and_(*inside, column.is_not(None))
        return sa.or_(*inside, column.is_(None))

    # Statements.

    def records(self, which: Predicate, *, limit: int | None, by_key: bool = False) -> Query:
        """Main rows of `which` in keyset order: key, modified if there is one, then what else `slots` needs."""
        order = [self.key] if by_key or self.modified is None else [self.modified, self.key]
        wanted = tuple(self._wants)
        statement = _select(wanted).select_from(self._joined()).where(*self._where, which).order_by(*order)
        return Query(statement if limit is None else statement.limit(limit), wanted)

    def _joined(self) -> sa.FromClause:
        source: sa.FromClause = self.main
        for name, (table, lookup) in self._lookups.items():
            on = self._column(self.main, lookup.column, f"lookups.{name}.column")
            source = source.outerjoin(table, on == self._column(table, lookup.key, f"lookups.{name}.key"))
        return source

    def children(self, rest: Rest, which: Predicate) -> Query:
        """Rows of another table that belong to the main rows of `which`, in the order of their key."""
        parents = sa.select(rest.reference).where(*self._where, which)
        return self._children(rest, self._column(rest.table, rest.child.parent, rest.at).in_(parents))

    def children_of(self, rest: Rest, references: Sequence[Any]) -> Query:
        """Rows of another table that belong to the dossiers named by `references`."""
        return self._children(rest, self._column(rest.table, rest.child.parent, rest.at).in_(references))

    def _children(self, rest: Rest, belonging: Predicate) -> Query:
        parent = self._column(rest.table, rest.child.parent, rest.at)
        wanted = (
            Wanted(parent, kind_of(parent.type)),
            *(self._wanted(rest.table, name, rest.at) for name in rest.slots),
        )
        where = [self._condition(rest.table, each, f"{rest.at}.where") for each in rest.child.where]
        key = self._column(rest.table, rest.child.key, rest.at)
        return Query(_select(wanted).where(belonging, *where).order_by(key), wanted)

    def touched(
        self, rest: Rest, start: datetime, *, read_from: datetime, after: Position | None, limit: int
    ) -> sa.Select[Any]:
        """(modified, key, reference) of rows changed from `start` on, whose dossiers changed before `read_from`.

        Dossiers changed later, or undated, are read anyway.
        """
        child, mine = rest.child, self.dated_by
        modified = self.modified_of(rest)
        key = self._column(rest.table, child.key, rest.at)
        parent = self._column(rest.table, child.parent, rest.at)
        since = self._after(modified, key, after) if after else [modified >= self._bound(start, modified)]
        first = in_terms_of(mine.type, FIRST_DATED)
        old = [mine < self._bound(read_from, mine), mine >= self._bound(first, mine)]
        joined = rest.table.join(self.main, parent == rest.reference)
        statement = sa.select(modified, key, rest.reference).select_from(joined)
        return statement.where(*since, *old, *self._where).order_by(modified, key).limit(limit)

    def keys(self, *, after: Any, limit: int) -> Query:
        """Keys of every main row there is, in order."""
        which = sa.true() if after is None else self.key > after
        wanted = (Wanted(self.key, kind_of(self.key.type)),)
        return Query(_select(wanted).where(*self._where, which).order_by(self.key).limit(limit), wanted)

    def modified_of(self, rest: Rest) -> ColumnElement[Any]:
        """The `modified` column of another table."""
        return self._column(rest.table, rest.child.modified or "", rest.at)


def _written(profile: DatabaseProfile, column: Any) -> str:
    """The name of a column as the profile writes it under `zones`."""
    return next((name for name in profile.zones if name.lower() == str(column.name).lower()), "")


def kind_of(kind: sa.types.TypeEngine[Any]) -> Kind:
    """What a column of an SQL type holds; numbers with a fraction and everything unknown are text."""
    if isinstance(kind, sa.Boolean):
        return "flag"
    if isinstance(kind, mssql.DATETIMEOFFSET) or (isinstance(kind, sa.DateTime) and getattr(kind, "timezone", False)):
        return "aware"
    if isinstance(kind, sa.DateTime):
        return "instant"
    if isinstance(kind, sa.Date):
        return "day"
    return "whole" if isinstance(kind, sa.Integer) else "text"


def in_terms_of(kind: sa.types.TypeEngine[Any], local: datetime) -> datetime:
    """A local time as a column of the type compares it; with a zone where the type has one."""
    return local.replace(tzinfo=UTC) if kind_of(kind) == "aware" and local.tzinfo is None else local


def _typed(value: bool | int | str, kind: sa.types.TypeEngine[Any]) -> Any:
    if isinstance(kind, sa.Boolean):
        return value in (True, 1, "1", "true")
    if isinstance(kind, sa.Integer):
        return int(value)
    return str(int(value)) if isinstance(value, bool | int) and isinstance(kind, sa.String) else value


def _select(wanted: Sequence[Wanted]) -> sa.Select[Any]:
    # Labels keep columns of one name apart, and every statement the same from night to night.
    return sa.select(*(each.element.label(f"c{number}") for number, each in enumerate(wanted)))
