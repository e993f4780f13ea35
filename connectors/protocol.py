"""What every connector speaks: calls, replies, steps, and the few ways in which a source fails.

Belongs here: the vocabulary shared by the state machines and the loop that drives them, none of it
doing I/O. Does not belong here: anything that one protocol alone needs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import Any, Protocol

import pyarrow as pa

from connectors.contract import Broken, RecordContract
from connectors.shape import Shape

#: Answers that another try may heal: timeouts, "too many requests" and everything the server blames on itself.
_PASSING = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})


@dataclass(frozen=True, slots=True)
class Call:
    """One request to make. `tag` is the state machine's own note; it never leaves the process.

    `content` is the body, which may hold a session: it is in no text that is made of a call.
    """

    path: str
    params: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    tag: Any = None
    method: str = "GET"
    content: bytes | None = field(default=None, repr=False)

    def __str__(self) -> str:
        """Method and path; parameters stay out of messages, they may carry more than an operator should see."""
        return f"{self.method} {self.path}"


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: status, headers in lower case, whole body."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Step:
    """What a reply yielded: raw records (one JSON object each) and the calls to make next.

    `where` says in words where the records stood, `origin` is what their columns need to know of the call.
    """

    records: Sequence[bytes] = ()
    calls: Sequence[Call] = ()
    where: str = ""
    origin: Any = None


class SourceError(RuntimeError):
    """A source could not be read. The text says what was tried, `hint` what an operator can do, `key` which
    configuration key is the likeliest at fault.
    """

    def __init__(self, message: str, *, hint: str = "", key: str = "base_url") -> None:
        super().__init__(f"{message}. {hint}" if hint else message)
        self.hint = hint
        self.key = key


class Permanent(SourceError):  # noqa: N818  what it says of the failure
    """Trying again will not help until someone changes something."""


class Transient(SourceError):  # noqa: N818  what it says of the failure
    """Trying again may help; `retry_after` is the server's own wish, in seconds."""

    def __init__(
        self, message: str, *, hint: str = "", key: str = "base_url", retry_after: float | None = None
    ) -> None:
        super().__init__(message, hint=hint, key=key)
        self.retry_after = retry_after


class Walk(Protocol):
    """A state machine over one piece of extraction: no I/O, no clock.

    `accept` is called once per reply and raises `Transient` *before* changing any state when the
    same call should be made again.
    """

    def begin(self) -> Sequence[Call]:
        """The first calls."""
        ...

    def accept(self, call: Call, reply: Reply) -> Step:
        """Take one reply in; raises `Permanent` or `Transient`."""
        ...

    def forgive(self, call: Call, error: SourceError) -> bool:  # noqa: ARG002  for walks that can
        """Whether the walk can go on although every try of `call` failed (the walk notes what is missing).

        By default it cannot: a page that is missing is a hole.
        """
        return False


@dataclass(frozen=True)
class Guard:
    """How many records may be missing at once before a comparison is doubted instead of believed.

    More than `floor` records and more than `share` of what is stored: a search index that lost half its
    rows is a failed search, not so many deletions.
    """

    share: float = 0.2
    floor: int = 20

    def doubts(self, missing: int, known: int) -> bool:
        """Whether `missing` of `known` stored records are too many to have been deleted."""
        return missing > self.floor and missing > self.share * known


@dataclass(frozen=True)
class Verdict:
    """What a source says, asked record by record: which keys are gone, and how many were not asked about."""

    gone: frozenset[str]
    unasked: int = 0


#: Asks the source itself about stored records (wire columns and `record_key`) that a comparison did not find.
Confirm = Callable[[pa.Table], Awaitable[Verdict]]


@dataclass(frozen=True)
class Whole:
    """A promise of a part: it holds everything that the source has within `within`.

    `within` is SQL over the wire columns of a stored record, the same rows that the source was asked for;
    `seen` are keys that earlier parts of the same reading held. What is stored there, is no tombstone and
    was not seen is missing. Without `confirm` a missing record is gone; with it, only what it names is.
    While it leaves records unasked, the cursor of `stream` stays, so that the next night compares again.
    """

    within: str
    #: The comparison in words, for the operator.
    where: str
    seen: pa.Array | None = None
    guard: Guard = Guard()
    confirm: Confirm | None = None
    stream: str | None = None


@dataclass(frozen=True)
class Part:
    """Records of one contract in a batch: wire columns plus `_seq` (order seen), and what could not be typed.

    `wholes` are comparisons that the part allows; `gone` are keys that the source itself calls deleted; `shape`
    is that of a sample of the raw records, where the source gives JSON. `only_known`: it was read to compare,
    where nobody asked for what is there; records never stored are left out.
    """

    contract: RecordContract
    records: pa.Table
    broken: tuple[Broken, ...] = ()
    wholes: tuple[Whole, ...] = ()
    gone: tuple[str, ...] = ()
    shape: Shape = field(default_factory=dict)
    only_known: bool = False


@dataclass(frozen=True)
class Batch:
    """What to store together, and the cursors (stream → position) that are safe once it is stored.

    `notes` are for the operator, in Vietnamese: what the source does differently than it was known to.
    """

    parts: tuple[Part, ...]
    cursors: Mapping[str, Mapping[str, Any]]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Span:
    """What to read: [start, end) as aware instants. `is_update`: the store was filled before this span's end."""

    start: datetime
    end: datetime
    is_update: bool


@dataclass(frozen=True)
class Completed:
    """Changed records with the columns that further calls filled, and those for which that failed."""

    records: pa.Table
    broken: tuple[Broken, ...] = ()


class Connection(Protocol):
    """An open source, as `assets/raw` sees it."""

    def batches(self, span: Span) -> AsyncIterator[Batch]:
        """Everything in the span, batch by batch."""
        ...

    async def complete(self, records: pa.Table) -> Completed:
        """Fetch what the list does not carry, for changed records only.

        `records` has the contract's columns and, beside them, `record_key` and `content_hash`; all
        of them come back.
        """
        ...


def ensure_usable(call: Call, reply: Reply, *, hint: str = "") -> None:
    """Raise for every reply that cannot hold records; success with an HTML page in place of JSON included."""
    if reply.status in _PASSING or reply.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        wish = retry_after(reply)
        raise Transient(f"{call} answered HTTP {reply.status}", hint=hint, retry_after=wish)
    if not HTTPStatus.OK <= reply.status < HTTPStatus.MULTIPLE_CHOICES:
        raise Permanent(f"{call} answered HTTP {reply.status}", hint=hint)
    if reply.body.lstrip()[:1] == b"<":
        raise Transient(f"{call} answered a web page instead of JSON", hint=hint)


def retry_after(reply: Reply) -> float | None:
    """Seconds of a Retry-After header; None when absent or given as a date (then our own back-off applies)."""
    value = reply.headers.get("retry-after", "").strip()
    return float(value) if value.isdigit() else None
