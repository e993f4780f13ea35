"""One-stop system: VNPT iGate v2 REST.

Belongs here: which walk a night makes, fees, OAuth2 by Authlib, and the connection that joins them with the
shared loop. Does not belong here: walking the search (`igate_search.py`), what a dossier looks like on the
wire (`igate_records.py`), storage, and what its codes mean.

The search cannot be filtered by the time of change, but it can be sorted by it: a walk goes from the newest
dossier down until everything is older than the cursor. It holds everything that changed since, so what is
stored there and was not seen is missing. Once in `full_comparison_days` an update walks down to where the
first load began: that compares the whole history, and finds what became visible with a time long past.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pyarrow as pa

from connectors.igate_records import (
    DOSSIERS,
    FEE,
    FORMATS,
    Reference,
    Scalar,
    decoded,
    read_items,
    reference,
    text,
)
from connectors.igate_search import PresenceWalk, SearchWalk
from connectors.loop import Loop, Pages, Send, light_sender
from connectors.protocol import (
    Batch,
    Call,
    Completed,
    Guard,
    Reply,
    Span,
    Step,
    Transient,
    Verdict,
    Walk,
    Whole,
    ensure_usable,
)
from connectors.records import float_of
from connectors.settings import IGateSettings, secret
from connectors.tickets import Ticketed, bearer, token_endpoint

__all__ = ["BATCH_ROWS", "DOSSIERS", "FeeWalk", "OneStop", "SearchWalk", "authorised", "connect", "probe", "read_items"]

STREAM = "dossiers"
#: From when on everything was asked for, and when all of it was compared last.
COVERAGE, COMPARISON = "coverage", "comparison"

#: Rows that are stored together; bounds memory whatever the length of a walk.
BATCH_ROWS = 20_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_VIETNAM = ZoneInfo("Asia/Ho_Chi_Minh")
#: A night that comes a little earlier than the one so many days before is not put off by another day.
_SOON = timedelta(hours=12)


class _FeeLine(msgspec.Struct, gc=False):
    id: Scalar | None = None
    amount: Scalar | None = None
    paid: Scalar | None = None
    dossier: Reference = None


_fees = msgspec.json.Decoder(list[_FeeLine] | None)


class FeeWalk(Walk):
    """Fee lines of changed dossiers, `fee_batch` dossiers a call; `fees()` gives them by dossier."""

    def __init__(self, dossiers: Sequence[str], settings: IGateSettings) -> None:
        self._dossiers = tuple(dossiers)
        self._batch = settings.fee_batch
        self._places = {dossier: place for place, dossier in enumerate(self._dossiers)}
        self._of: list[int] = []
        self._lines: list[tuple[str | None, float | None, float | None]] = []

    def begin(self) -> Sequence[Call]:
        """One call per batch of dossiers."""
        starts = range(0, len(self._dossiers), self._batch)
        return [self._call(self._dossiers[start : start + self._batch]) for start in starts]

    def accept(self, call: Call, reply: Reply) -> Step:
        """Keep the fee lines of one batch."""
        ensure_usable(call, reply)
        try:
            lines = _fees.decode(reply.body) if reply.body.strip() else []
            places = [self._places.get(text(reference(line.dossier).id) or "") for line in lines or ()]
            fees = [_fee(line) for line in lines or ()]
        except (msgspec.DecodeError, ValueError, UnicodeDecodeError):
            raise Transient(f"{call}: the answer is not a list of fees ({len(reply.body)} bytes)") from None
        if strangers := places.count(None):
            raise Transient(f"{call}: {strangers} fee lines name no dossier that was asked for")
        self._of.extend(place for place in places if place is not None)
        self._lines.extend(fees)
        return Step()

    def fees(self) -> pa.Array:
        """Fee lines of every dossier asked for, in the order asked; by their ids within one."""
        columns = list(zip(*self._lines, strict=True)) if self._lines else [(), (), ()]
        arrays = [pa.array(column, item.type) for column, item in zip(columns, FEE, strict=True)]
        lines = pa.table([pa.array(self._of, pa.int64()), *arrays], names=["place", *(item.name for item in FEE)])
        lines = lines.sort_by([("place", "ascending"), ("id", "ascending")])
        counts = Counter(self._of)
        offsets = [0, *accumulate(counts[place] for place in range(len(self._dossiers)))]
        structs = pa.StructArray.from_arrays([lines[item.name].combine_chunks() for item in FEE], fields=list(FEE))
        return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), structs)

    def _call(self, dossiers: Sequence[str]) -> Call:
        params = (("dossier-ids", ",".join(dossiers)),)
        return Call("/pa/dossier-fee/--by-dossiers", params, (("Accept", "application/json"),))


def _fee(line: _FeeLine) -> tuple[str | None, float | None, float | None]:
    """Id, amount and sum paid of one line; `ValueError` when a number is none."""
    amount, paid = (None if value is None else float_of(value) for value in (line.amount, line.paid))
    return text(line.id), amount, paid


@dataclass
class OneStop:
    """An open one-stop system; `positions` are its stored cursors, by stream."""

    settings: IGateSettings
    loop: Loop
    known: int = 0
    positions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    #: Stored dossiers asked about one by one so far.
    confirmed: int = 0

    async def batches(self, span: Span) -> AsyncIterator[Batch]:
        """Batches of one walk. Only the last carries a cursor: the walk goes from new to old, so until
        it has ended nothing older than what was read is known to be complete.
        """
        lag = timedelta(minutes=self.settings.lag_minutes)
        is_full = span.is_update and self._is_comparison_due(span.end)
        since = (self._covered or _EPOCH) if is_full else span.start - lag
        # Where the first load began was not always noted: then nobody says that older rows are wanted.
        only_known = is_full and self._covered is None
        begins = self._covered if span.is_update else None
        walk = SearchWalk(since, self.settings, known=self.known, begins=begins)
        gathered, seen = Pages(DOSSIERS.schema), [pa.array([], pa.string())]
        async for page in self.loop.pages(walk, read_items):
            gathered.add(page)
            if gathered.rows >= BATCH_ROWS:
                part = gathered.part(DOSSIERS, only_known=only_known)
                if self.known:
                    seen += part.records["id"].chunks
                yield Batch((part,), {})
        wholes = (self._whole(since, pa.concat_arrays(seen)),) if self.known and walk.newest else ()
        part = gathered.part(DOSSIERS, wholes=wholes, only_known=only_known)
        yield Batch((part,), self._cursors(walk, span, since, is_full=is_full))

    @property
    def _covered(self) -> datetime | None:
        said = self.positions.get(COVERAGE, {}).get("since")
        return datetime.fromisoformat(said) if said else None

    def _is_comparison_due(self, now: datetime) -> bool:
        nights, said = self.settings.full_comparison_days, self.positions.get(COMPARISON, {}).get("compared_at")
        return bool(nights) and (said is None or now - datetime.fromisoformat(said) >= timedelta(days=nights) - _SOON)

    def _whole(self, since: datetime, seen: pa.Array) -> Whole:
        """The comparison of everything that changed since: what changes after it was stored has a later time."""
        formats = "', '".join(FORMATS)
        within = f"""try_strptime(trim("updatedDate"), ['{formats}']) >= TIMESTAMPTZ '{since.isoformat()}'"""
        guard = Guard(self.settings.missing_share, self.settings.missing_floor)
        where = f"cập nhật từ {since.astimezone(_VIETNAM):%d/%m/%Y %H:%M}"
        return Whole(within, where, seen, guard, self._confirm, COMPARISON)

    async def _confirm(self, records: pa.Table) -> Verdict:
        """Ask by public code, at most so many a night; what has none cannot be asked about and stays."""
        keys = records["record_key"].to_pylist()
        pairs = zip(records["id"].to_pylist(), records["code"].to_pylist(), strict=True)
        coded = [
            (place, identity, code.strip()) for place, (identity, code) in enumerate(pairs) if (code or "").strip()
        ]
        asked = coded[: self.settings.confirmations - self.confirmed]
        self.confirmed += len(asked)
        walk = PresenceWalk([(identity, code) for _, identity, code in asked])
        async for _ in self.loop.run(walk):
            pass
        # What has no code is not counted as unasked: no later night could ask about it either.
        return Verdict(frozenset(keys[asked[index][0]] for index in walk.gone), len(coded) - len(asked) + walk.unasked)

    def _cursors(
        self, walk: SearchWalk, span: Span, since: datetime, *, is_full: bool
    ) -> Mapping[str, Mapping[str, Any]]:
        cursors = dict(self._cursor(walk, span, timedelta(minutes=self.settings.lag_minutes)))
        if not span.is_update:
            covered = min(since, walk.oldest or since, self._covered or since)
            cursors[COVERAGE] = {"since": covered.astimezone(UTC).isoformat()}
        if is_full or (not span.is_update and COMPARISON not in self.positions):
            cursors[COMPARISON] = {"compared_at": span.end.astimezone(UTC).isoformat()}
        return cursors

    @staticmethod
    def _cursor(walk: SearchWalk, span: Span, lag: timedelta) -> Mapping[str, Mapping[str, Any]]:
        """The newest change seen minus the lag: by the source's clock, whatever ours says, and never after ours."""
        if walk.newest is None:
            return {}
        return {STREAM: {"until": (min(walk.newest, span.end) - lag).astimezone(UTC).isoformat()}}

    async def complete(self, records: pa.Table) -> Completed:
        """Fetch the fee lines."""
        ids = [str(value) for value in records["id"].to_pylist()]
        walk = FeeWalk(ids, self.settings)
        async for _ in self.loop.run(walk):
            pass
        return Completed(records.set_column(records.schema.get_field_index("fees"), "fees", walk.fees()))


def authorised(send: Send, settings: IGateSettings) -> Send:
    """`send` with a token of the client: one for all calls, renewed before it ends and when it is refused."""
    fetch = token_endpoint(
        str(settings.token_url),
        grant="client_credentials",
        client_id=secret(settings.client_id_env),
        client_secret=secret(settings.client_secret_env),
        keys="client_id_env, client_secret_env",
        hint=f"Check token_url and the variables {settings.client_id_env} and {settings.client_secret_env}",
        timeout_seconds=settings.manners.timeout_seconds,
    )
    return Ticketed(send, fetch, bearer, key="client_id_env")


@asynccontextmanager
async def connect(
    settings: IGateSettings, *, known: int = 0, positions: Mapping[str, Mapping[str, Any]] | None = None
) -> AsyncIterator[OneStop]:
    """Open the system; `known` is how many of its dossiers are stored. `MissingSecret` when a variable is not set."""
    async with light_sender(str(settings.base_url), settings.manners, headers={}) as send:
        loop = Loop.over(authorised(send, settings), settings.manners)
        yield OneStop(settings, loop, known, positions or {})


async def probe(settings: IGateSettings) -> str:
    """Log in, ask for the newest dossier, and say what came back."""
    async with connect(settings.model_copy(update={"page_rows": 1})) as onestop:
        walk = _ProbeWalk(SearchWalk(datetime.max.replace(tzinfo=UTC), onestop.settings).begin())
        async for _ in onestop.loop.run(walk):
            pass
    total = "an unknown number of" if walk.total is None else str(walk.total)
    return f"logged in, {total} dossiers listed"


class _ProbeWalk(Walk):
    def __init__(self, calls: Sequence[Call]) -> None:
        self._calls = calls
        self.total: int | None = None

    def begin(self) -> Sequence[Call]:
        return self._calls

    def accept(self, call: Call, reply: Reply) -> Step:
        ensure_usable(call, reply)
        try:
            self.total = decoded(reply.body).totalElements
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise Transient(f"{call}: the answer is not a page of dossiers", hint="Check base_url") from None
        return Step()
