"""A REST system that is connected by a profile: one YAML file, no code.

Belongs here: what the province's file says of one, and the connection that joins profile, login, walk and
field map with the shared loop. Does not belong here: any of these (`rest_profile.py`, `rest_auth.py`,
`rest_walk.py`, `rest_map.py`, `rest_details.py`), nor what codes mean.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from connectors.contract import Broken, RecordContract
from connectors.loop import Loop, Pages, light_sender
from connectors.profiled import SCHEMA, Profile, ProfiledSettings, ProfileError, contract
from connectors.protocol import Batch, Call, Completed, Reply, Span, Step, Walk, Whole
from connectors.records import Typed
from connectors.rest_auth import NEEDED, signed
from connectors.rest_call import Calls
from connectors.rest_details import completed
from connectors.rest_page import Page, PageReader
from connectors.rest_profile import NewestFirst, RestProfile, WholeChanges, Windows, filled
from connectors.rest_time import instant_reader, windows
from connectors.rest_walk import Lane, ListWalk, Read
from connectors.settings import BaseUrl, HttpManners, VariableName

STREAM = "dossiers"
#: Rows that are stored together; bounds memory whatever the length of a walk.
BATCH_ROWS = 20_000
#: Tries of a call when somebody waits at a terminal.
_HASTY_ATTEMPTS = 2


class RestSettings(ProfiledSettings):
    """A REST system: where it is, its profile, and the variables that hold what the profile's login needs."""

    profile_model: ClassVar[type[Profile]] = RestProfile

    kind: Literal["rest"]
    base_url: BaseUrl
    token_url: BaseUrl | None = None
    username_env: VariableName | None = None
    password_env: VariableName | None = None
    client_id_env: VariableName | None = None
    client_secret_env: VariableName | None = None
    token_env: VariableName | None = None
    #: What the profile names in braces, e.g. the code of this province's adapter; no secrets.
    values: dict[str, str] = Field(default_factory=dict)
    page_rows: Annotated[int, Field(gt=0, le=10_000)] = 500
    manners: HttpManners = HttpManners()

    def loaded(self) -> RestProfile:
        """The profile with this file's values filled in.

        Raises `ProfileError` that names the file and every wrong key, here a key that the profile needs.
        """
        profile = super().loaded()
        if not isinstance(profile, RestProfile):
            raise TypeError("profile_model names another class")
        if missing := [key for key in NEEDED[profile.auth.kind] if getattr(self, key) is None]:
            raise ProfileError(f"profile {self.profile}: auth {profile.auth.kind} needs {', '.join(missing)}")
        if unknown := sorted(profile.placeholders() - set(self.values)):
            raise ProfileError(
                f"profile {self.profile}: values.{unknown[0]} is missing; the profile names {{{unknown[0]}}}"
            )
        said = profile.model_dump(mode="json", by_alias=True)
        return RestProfile.model_validate(filled(said, self.values))


@dataclass(frozen=True)
class _OfLane(Typed):
    """A typed page that knows its lane."""

    lane: Lane = field(default_factory=Lane)


@dataclass(frozen=True)
class RestSystem:
    """An open REST system."""

    name: str
    settings: RestSettings
    profile: RestProfile
    contract: RecordContract
    reader: PageReader
    calls: Calls
    loop: Loop
    known: int = 0

    async def batches(self, span: Span) -> AsyncIterator[Batch]:
        """Batches of one walk. By windows each carries how far everything was read; otherwise only the last does.

        A source that is read whole shows what is gone: the last batch says so, unless a record could not be read.
        """
        walk, gathered = self.walk(span), Pages(SCHEMA)
        seen: list[pa.Array] = []
        is_whole = isinstance(self.profile.list.changes, WholeChanges)
        async for page in self.loop.pages(walk, self._typed):
            gathered.add(page)
            is_whole = is_whole and not page.broken
            if isinstance(page, _OfLane):
                page.lane.taken += 1
            if gathered.rows >= BATCH_ROWS:
                until = walk.until
                part = gathered.part(self.contract)
                if is_whole:
                    seen.append(pc.binary_join_element_wise(self.name, part.records["record_id"].combine_chunks(), ":"))
                yield Batch((part,), {} if until is None else _cursor(until))
        before = pa.concat_arrays(seen) if seen else pa.array([], pa.string())
        wholes = (Whole("true", "toàn bộ danh sách", before.drop_null()),) if is_whole else ()
        yield Batch((gathered.part(self.contract, wholes=wholes),), self._last_cursor(walk, span))

    def _typed(self, step: Step) -> _OfLane:
        read: Read = step.origin
        typed = self.reader.typed(read.page, bytes(step.records[0]), step.where)
        return _OfLane(typed.records, typed.broken, shape=typed.shape, lane=read.lane)

    def walk(self, span: Span) -> ListWalk:
        """The walk over what `span` asks for."""
        changes, at_once = self.profile.list.changes, self.settings.manners.concurrency
        if isinstance(changes, Windows):
            return ListWalk(self.calls, self.reader, self._lanes(changes, span), at_once=at_once, known=self.known)
        if isinstance(changes, NewestFirst):
            overlap = timedelta(minutes=self.settings.lag_minutes + changes.overlap_minutes)
            instant = instant_reader(self.profile)
            since = span.start - overlap
            return ListWalk(self.calls, self.reader, [Lane()], known=self.known, since=since, instant=instant)
        return ListWalk(self.calls, self.reader, [Lane()], known=self.known)

    def _lanes(self, changes: Windows, span: Span) -> list[Lane]:
        return [
            Lane(
                {**axis.params, axis.start: window.start, axis.end: window.end},
                until=window.until,
                name=f"the window {axis.start}={window.start} {axis.end}={window.end}",
            )
            for window in windows(span, changes, self.profile.zone)
            for axis in changes.axes
        ]

    def _last_cursor(self, walk: ListWalk, span: Span) -> Mapping[str, Mapping[str, Any]]:
        """Newest first: the newest change seen less the lag, by the source's clock and never after ours."""
        if not isinstance(self.profile.list.changes, NewestFirst):
            return _cursor(span.end)
        if walk.newest is None:
            return {}
        return _cursor(min(walk.newest, span.end) - timedelta(minutes=self.settings.lag_minutes))

    async def complete(self, records: pa.Table) -> Completed:
        """Make the profile's further calls for changed records."""
        base_path = urlsplit(str(self.settings.base_url)).path.rstrip("/")
        broken: tuple[Broken, ...] = ()
        for details in self.profile.details:
            done = await completed(self.loop, details, records, base_path=base_path, headers=self.profile.headers)
            records, broken = done.records, (*broken, *done.broken)
        return Completed(records, broken)


def _cursor(until: datetime) -> Mapping[str, Mapping[str, Any]]:
    return {STREAM: {"until": until.astimezone(UTC).isoformat()}}


@asynccontextmanager
async def connect(settings: RestSettings, *, name: str, known: int = 0) -> AsyncIterator[RestSystem]:
    """Open the system that the province's file calls `name`; `known` is how many of its records are stored.

    Raises `ProfileError`, or `MissingSecret` when a variable is not set.
    """
    profile = settings.loaded()
    parts = urlsplit(str(settings.base_url))
    seconds = settings.manners.timeout_seconds
    async with light_sender(f"{parts.scheme}://{parts.netloc}", settings.manners, headers={}) as bare:
        send = signed(bare, profile, settings, base_path=parts.path.rstrip("/"), timeout_seconds=seconds)
        yield rehearsed(settings, Loop.over(send, settings.manners), name=name, known=known)


def rehearsed(settings: RestSettings, loop: Loop, *, name: str, known: int = 0) -> RestSystem:
    """The system over a loop that is given: one that makes no call shows what would be asked."""
    profile = settings.loaded()
    parts = urlsplit(str(settings.base_url))
    origin, base_path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    calls = Calls(profile, origin=origin, base_path=base_path, page_rows=settings.page_rows)
    reader = PageReader(profile)
    kept = replace(contract(name, profile), wire=reader.map.read)
    return RestSystem(name, settings, profile, kept, reader, calls, loop, known)


def _hasty(settings: RestSettings, rows: int) -> RestSettings:
    manners = settings.manners.model_copy(update={"attempts": _HASTY_ATTEMPTS})
    return settings.model_copy(update={"manners": manners, "page_rows": rows})


class _Few(Walk):
    """The first pages of a walk, until so many rows were read; nothing is asked twice."""

    def __init__(self, walk: ListWalk, limit: int) -> None:
        self._walk, self._limit = walk, limit
        self.rows = 0
        self.total: int | None = None

    def begin(self) -> list[Call]:
        """The first page of the newest lane alone."""
        return list(self._walk.begin())[:1]

    def accept(self, call: Call, reply: Reply) -> Step:
        """Take a page in; ask on only while rows are wanted."""
        step = self._walk.accept(call, reply)
        if isinstance(step.origin, Read):
            page: Page = step.origin.page
            self.rows += page.rows
            self.total = page.total if self.total is None else self.total
        calls = step.calls[:1] if self.rows < self._limit else ()
        return Step(step.records, calls, step.where, step.origin)


async def _few(settings: RestSettings, limit: int) -> tuple[_Few, list[Typed]]:
    async with connect(settings, name="sample") as system:
        now = datetime.now(UTC)
        walk = system.walk(Span(now - timedelta(days=31), now, is_update=False))
        walk.newest_lanes_first()
        few = _Few(walk, limit)
        steps = [step async for step in system.loop.run(few) if isinstance(step.origin, Read)]
        return few, [system.reader.typed(step.origin.page, bytes(step.records[0]), step.where) for step in steps]


async def probe(settings: RestSettings) -> str:
    """Log in, ask for one page, and say what came back."""
    few, pages = await _few(_hasty(settings, 1), 1)
    broken = sum(len(page.broken) for page in pages)
    told = "số hồ sơ không được cho biết" if few.total is None else f"{few.total} hồ sơ trong danh sách"
    unread = f", {broken} bản ghi không đọc được" if broken else ""
    return f"đã gọi được, {told}{unread} · reached"


def sample(settings: RestSettings, limit: int) -> pa.Table:
    """Up to `limit` mapped records of the last month, in the columns of the contract. Raises `SourceError`."""
    _, pages = asyncio.run(_few(_hasty(settings, min(limit, settings.page_rows)), limit))
    tables = [page.records for page in pages] or [SCHEMA.empty_table()]
    return pa.concat_tables(tables).slice(0, limit)
