"""What the profile of a REST system says: how to log in, what to ask, how it pages, where the fields stand.

Belongs here: the shape of the file and what is wrong with one. Does not belong here: doing any of it
(`rest_auth.py`, `rest_walk.py`, `rest_map.py`), nor addresses and names of secrets, which are the
province's (`rest.py`). docs/connecting.md tells an integrator how to write one.

A text may name values of the province's file in braces: `{madonvi}` stands for `values.madonvi` there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    PositiveInt,
    Tag,
    field_validator,
    model_validator,
)

from connectors.profiled import FIELDS, LISTS, NUMERIC_FORMATS, Profile
from connectors.rest_path import Path, PathError

_PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*)\}")
#: Placeholders of a login, filled from the environment variables that the province's file names.
LOGIN_NAMES = frozenset({"username", "password"})

Scalar = str | int | float | bool | None


def _readable(text: str) -> str:
    try:
        Path.of(text)
    except PathError as error:
        raise ValueError(str(error)) from None
    return text


PathText = Annotated[str, AfterValidator(_readable)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NoAuth(_Part):
    """Nothing is shown."""

    kind: Literal["none"] = "none"


class BasicAuth(_Part):
    """HTTP Basic with `username_env` and `password_env`."""

    kind: Literal["basic"]


class HeaderAuth(_Part):
    """The token of `token_env` in a header, after `prefix`."""

    kind: Literal["header"]
    name: str = "Authorization"
    prefix: str = ""


class ClientCredentials(_Part):
    """OAuth2 client credentials at `token_url` with `client_id_env` and `client_secret_env`."""

    kind: Literal["client_credentials"]
    scope: str | None = None
    #: How the client shows itself at the token endpoint.
    client_auth: Literal["client_secret_basic", "client_secret_post"] = "client_secret_basic"


class PasswordGrant(_Part):
    """Keycloak's password grant: `username_env`, `password_env`, and the client, which may be public."""

    kind: Literal["password"]
    scope: str | None = None
    client_auth: Literal["client_secret_basic", "client_secret_post", "none"] = "none"


class ErrorCode(_Part):
    """Where a reply with status 200 says that it is none, and what it says when all is well.

    A reply that says nothing there is well.
    """

    path: PathText
    ok: Annotated[tuple[Scalar, ...], Field(min_length=1)]


class Session(_Part):
    """A login call whose reply holds a session, which stands in each further call (adapters of the national portal).

    `body` may hold `{username}` and `{password}`. `expired`: error codes by which a reply says that the
    session is over; the call is then made once more under a new one. HTTP 401 says it everywhere.
    """

    kind: Literal["session"]
    path: str
    body: dict[str, Scalar]
    send: Literal["json", "form"] = "json"
    headers: dict[str, str] = Field(default_factory=dict)
    session: PathText
    error: ErrorCode | None = None
    put: Literal["body", "query", "header"] = "body"
    name: str = "session"
    #: Before the session in a header, as "Bearer ".
    prefix: str = ""
    expired: tuple[Scalar, ...] = ()


Auth = Annotated[
    NoAuth | BasicAuth | HeaderAuth | ClientCredentials | PasswordGrant | Session, Field(discriminator="kind")
]


class _Counted(_Part):
    """What a reply says of how much there is; a header's name is written `header:X-Total-Count`."""

    total: str | None = None
    #: Where it says that this page is the last (true), or that there are more (`more`: true).
    last: PathText | None = None
    more: PathText | None = None
    #: No record ever leaves the list (deleted ones are flagged, not taken out), or pages are told apart by key
    #: and not by counting rows: then no row can slip past a reader, and one walk is enough.
    steady: bool = False

    @field_validator("total")
    @classmethod
    def _known_total(cls, value: str | None) -> str | None:
        return value if value is None or value.startswith("header:") else _readable(value)


class OffsetPaging(_Counted):
    """Rows from an offset: `start` and `limit`, or `start` and `end` (the first row that is not wanted)."""

    kind: Literal["offset"]
    start: str
    limit: str | None = None
    end: str | None = None
    first: int = 0

    @model_validator(mode="after")
    def _one_end(self) -> Self:
        if (self.limit is None) == (self.end is None):
            raise ValueError("needs either limit or end")
        return self


class PagePaging(_Counted):
    """Numbered pages from `first` (0 or 1), `size` naming the parameter of how many rows a page has."""

    kind: Literal["page"]
    page: str
    size: str | None = None
    first: int = 0
    #: Where the reply says how many pages there are.
    pages: PathText | None = None


class CursorPaging(_Counted):
    """A token from one reply names the next page; no token, no next page."""

    kind: Literal["cursor"]
    cursor: str
    next: PathText
    size: str | None = None
    steady: bool = True


class LinkPaging(_Counted):
    """The address of the next page stands in the reply (`next`) or in its Link header (rel="next")."""

    kind: Literal["link"]
    next: PathText | None = None
    size: str | None = None


class OnePage(_Part):
    """Everything comes at once."""

    kind: Literal["none"] = "none"


Paging = Annotated[OffsetPaging | PagePaging | CursorPaging | LinkPaging | OnePage, Field(discriminator="kind")]


class WholeChanges(_Part):
    """A small source: all of it is read every night, and what is unchanged is not stored again."""

    kind: Literal["whole"] = "whole"


class NewestFirst(_Part):
    """The list comes in descending order of `modified_at`: read until it is older than the cursor and the overlap."""

    kind: Literal["newest-first"]
    overlap_minutes: Annotated[int, Field(ge=0)] = 0


class Axis(_Part):
    """A pair of parameters that narrows the list to a span of time; either may name what the other leaves open."""

    start: Annotated[str, Field(alias="from")]
    end: Annotated[str, Field(alias="to")]
    #: Parameters that belong to this axis alone.
    params: dict[str, Scalar] = Field(default_factory=dict)


class Windows(_Part):
    """The list is asked window by window, on each axis; `overlap_days` before the cursor are read again.

    `format` is a strftime pattern or epoch_ms, epoch_s. With a format that shows no time of day, `to` is the
    last day of a window; otherwise its last second, or its end where `to_is_exclusive`.
    """

    kind: Literal["windows"]
    axes: Annotated[tuple[Axis, ...], Field(min_length=1)]
    format: str
    days: PositiveInt = 7
    overlap_days: Annotated[int, Field(ge=0)] = 3
    to_is_exclusive: bool = False

    @field_validator("format")
    @classmethod
    def _known_format(cls, value: str) -> str:
        if value == "excel" or (value not in NUMERIC_FORMATS and "%" not in value):
            raise ValueError(f"{value!r} is neither a strftime format nor epoch_ms nor epoch_s")
        return value

    @property
    def shows_time(self) -> bool:
        """Whether the format says more than the day."""
        return self.format in NUMERIC_FORMATS or re.search("%[HITXsc]", self.format) is not None


Changes = Annotated[WholeChanges | NewestFirst | Windows, Field(discriminator="kind")]


class ListCall(_Part):
    """How dossiers are listed. `send` says where parameters go; in JSON a name with dots goes into objects."""

    path: str
    method: Literal["GET", "POST"] = "GET"
    params: dict[str, Scalar | list[Any] | dict[str, Any]] = Field(default_factory=dict)
    headers: dict[str, str] = Field(default_factory=dict)
    send: Literal["query", "json", "form"] = "query"
    #: Where the array of records stands in a reply.
    records: PathText
    error: ErrorCode | None = None
    paging: Paging = OnePage()
    changes: Changes = WholeChanges()

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.send != "query" and self.method == "GET":
            raise ValueError("send: only a POST has a body; write method: POST, or send: query")
        nested = sorted(name for name, value in self.params.items() if isinstance(value, list | dict))
        if nested and self.send != "json":
            raise ValueError(f"params.{nested[0]}: a list or an object can only be sent with send: json")
        if Path.of(self.records).names is None:
            raise ValueError(f"records: {self.records!r}: only names lead to the array of records")
        return self


class Const(_Part):
    """The same text in every record."""

    const: str | int | float | bool

    @property
    def text(self) -> str:
        """As a source would write it."""
        return str(self.const).lower() if isinstance(self.const, bool) else str(self.const)


class Paid(_Part):
    """The state of a payment where the source states amounts and no state: `settled` or `open`.

    Settled when something was paid and no less than was asked; a refund puts `paid` back to 0.
    """

    paid: PathText
    of: PathText

    @property
    def paths(self) -> tuple[str, str]:
        """What was paid, and what was asked."""
        return self.paid, self.of


class Coded(_Part):
    """A value of which some spellings stand for others; one that `values` does not name stays as it is."""

    path: PathText
    values: dict[str, str]


def _way(value: Any) -> str | None:
    """Which way of saying where a value comes from this is, so that an error speaks of that way alone."""
    if isinstance(value, Mapping):
        return next((way for way in ("const", "each", "paid", "values") if way in value), None)
    ways: dict[type, str] = {
        str: "path",
        list: "paths",
        tuple: "paths",
        Const: "const",
        Paid: "paid",
        Coded: "values",
        Each: "each",
    }
    return ways.get(type(value))


_WAYS = (
    Annotated[PathText, Tag("path")]
    | Annotated[tuple[PathText, ...], Field(min_length=1), Tag("paths")]
    | Annotated[Const, Tag("const")]
    | Annotated[Paid, Tag("paid")]
    | Annotated[Coded, Tag("values")]
)
_UNKNOWN_WAY = {
    "custom_error_type": "unknown_way",
    "custom_error_message": "write a path, a list of paths, {const: …}, {path: …, values: {…}}, "
    "{paid: …, of: …} or {each: …, fields: {…}}",
}
#: One path, several of which the first that says something counts, a constant, or a comparison of amounts.
Source = Annotated[_WAYS, Discriminator(_way, **_UNKNOWN_WAY)]


class Each(_Part):
    """A list field: an item for each thing at `each`, its fields below that; `$` leads to the record itself."""

    each: PathText
    fields: dict[str, Source]

    @field_validator("fields")
    @classmethod
    def _from_one_place(cls, value: dict[str, Source]) -> dict[str, Source]:
        _unmixed(value)
        return value


ListOrSource = Annotated[_WAYS | Annotated[Each, Tag("each")], Discriminator(_way, **_UNKNOWN_WAY)]


class Details(_Part):
    """A further call for changed records: `batch` of them at once, their ids joined by commas in `param`.

    A path with `{record_id}` asks for one record each. What it says of a list takes the place of what the
    list said; a field that it leaves out keeps what the list said of the first item.
    """

    path: str
    param: str | None = None
    params: dict[str, Scalar] = Field(default_factory=dict)
    batch: PositiveInt = 1
    records: PathText = "$"
    error: ErrorCode | None = None
    #: Where a line names the record that it belongs to; it may be left out where one record is asked for.
    belongs_to: PathText | None = None
    #: List fields of the contract; each line of the answer is an item of each of them.
    lists: dict[str, dict[str, Source]]

    @model_validator(mode="after")
    def _possible(self) -> Self:
        one_each = "{record_id}" in self.path
        if one_each == (self.param is not None):
            raise ValueError("needs either param or a path with {record_id}")
        if one_each and self.batch != 1:
            raise ValueError("batch: a path with {record_id} asks for one record at a time")
        if self.belongs_to is None and self.batch != 1:
            raise ValueError("belongs_to: several records are asked for at once, so each line must name its own")
        if Path.of(self.records).names is None:
            raise ValueError(f"records: {self.records!r}: only names lead to the array of records")
        for name, fields in self.lists.items():
            _known_items(name, fields)
            if rooted := [path for said in fields.values() for path in paths_of(said) if Path.of(path).is_absolute]:
                raise ValueError(f"lists.{name}: {rooted[0]!r}: paths begin at the line (@), not at the record ($)")
        return self


def paths_of(source: Source) -> tuple[str, ...]:
    """The paths that a field of the map reads, as the profile writes them."""
    if isinstance(source, Const):
        return ()
    if isinstance(source, Paid):
        return source.paths
    if isinstance(source, Coded):
        return (source.path,)
    return (source,) if isinstance(source, str) else tuple(source)


def _unmixed(fields: Mapping[str, Source]) -> None:
    for name, source in fields.items():
        if len({Path.of(path).is_absolute for path in paths_of(source)}) > 1:
            raise ValueError(f"{name}: paths of the record ($) and of the list's item cannot be mixed")


def _known_items(name: str, fields: Mapping[str, Source]) -> None:
    if name not in LISTS:
        raise ValueError(f"{name}: not a list; one of {', '.join(LISTS)}")
    if unknown := sorted(set(fields) - set(LISTS[name])):
        raise ValueError(f"{name}.{unknown[0]}: not one of {', '.join(LISTS[name])}")


class RestProfile(Profile):
    """The profile of a REST system."""

    auth: Auth = NoAuth()
    #: Sent with every call.
    headers: dict[str, str] = Field(default_factory=dict)
    list: ListCall
    fields: dict[str, ListOrSource]
    details: tuple[Details, ...] = ()

    @field_validator("fields")
    @classmethod
    def _known_fields(cls, value: dict[str, ListOrSource]) -> dict[str, ListOrSource]:
        for name, said in value.items():
            if isinstance(said, Each):
                _known_items(name, said.fields)
            elif name in LISTS:
                raise ValueError(f"{name}: is a list; write {{each: …, fields: {{…}}}}")
            elif name not in FIELDS:
                raise ValueError(f"{name}: not a field; one of {', '.join(sorted(FIELDS | set(LISTS)))}")
        return value

    @model_validator(mode="after")
    def _usable_records(self) -> Self:
        needed = ("record_id", "status", "procedure_code", "agency") if self.subject == "dossier" else ("record_id",)
        if missing := [name for name in needed if name not in self.fields]:
            raise ValueError(f"fields: {missing[0]}: is missing; without it no record can be used")
        lists = [*((name, said.fields) for name, said in self.fields.items() if isinstance(said, Each))]
        lists += [each for details in self.details for each in details.lists.items()]
        self.refuse_unfit(
            {name for name, said in self.fields.items() if not isinstance(said, Each)}
            | {f"{name}.{item}" for name, fields in lists for item in fields}
        )
        return self

    @model_validator(mode="after")
    def _sorted_by_a_date(self) -> Self:
        if isinstance(self.list.changes, NewestFirst) and "modified_at" not in self.fields:
            raise ValueError("list.changes: newest-first needs fields.modified_at, the date that the list is sorted by")
        return self

    @model_validator(mode="after")
    def _session_has_a_place(self) -> Self:
        if isinstance(self.auth, Session) and self.auth.put == "body" and self.list.send != "json":
            raise ValueError("auth.put: a session in the body needs list.method: POST and list.send: json")
        return self

    def placeholders(self) -> frozenset[str]:
        """Names in braces that the province's file must give a value to."""
        login = self.auth.model_dump() if isinstance(self.auth, Session) else {}
        told = [login, self.headers, self.list.model_dump(), *(each.model_dump() for each in self.details)]
        found = {name for text in _texts(told) for name in _PLACEHOLDER.findall(text)}
        return frozenset(found - LOGIN_NAMES - {"record_id"})


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)


def filled(value: Any, values: Mapping[str, str]) -> Any:
    """`value` with every `{name}` of `values` in its texts replaced; others stay."""
    if isinstance(value, str):
        return _PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), value)
    if isinstance(value, Mapping):
        return {name: filled(inner, values) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [filled(inner, values) for inner in value]
    return value
