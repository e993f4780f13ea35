"""Observations: rates that dossiers cannot give, stated by offices in files or by other systems over HTTP.

Belongs here: reading a folder of CSV and XLSX files, pulling JSON, and what becomes of a row that is
refused. Does not belong here: opening a file (`observation_files`), reading a cell (`observation_cells`),
what makes a statement acceptable (`observation_statements`), which indicators there are, nor storage.

A statement says: for this indicator, unit and period, so many of so many (or this value), proven by
this document, vouched for by this role, on this day. Nobody's name is part of it. Every row that is not
accepted is given back with all its reasons, each naming file, sheet, row and column in Vietnamese, in
the shape of the quarantine; its cells are quoted only where they cannot be a person.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, NamedTuple
from urllib.parse import parse_qsl, urljoin, urlsplit

import msgspec
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, HttpUrl, PositiveInt

from connectors.conditional import Document, document_key
from connectors.file_names import ending
from connectors.loop import Loop, light_sender
from connectors.observation_cells import (
    BLANK,
    Cell,
    text_of,
)
from connectors.observation_files import HEADINGS, Record, UnusableFileError, records_of
from connectors.observation_statements import (
    NUMBERS,
    SUBJECT,
    Book,
    Observable,
    Problem,
    excerpt_of,
    hash_of,
    statement_of,
)
from connectors.person_fields import masked, tells_person
from connectors.protocol import Call, Permanent, Reply, Step, ensure_usable
from connectors.settings import HttpManners, VariableName, secret

SOURCE = "observations"
#: What the place of a file begins with.
_FILE = "tệp "
OBSERVATIONS = pa.schema(
    [
        *(
            pa.field(name, pa.string(), nullable=False)
            for name in ("indicator", "scope", "level", "unit_code", "period")
        ),
        pa.field("period_start", pa.date32(), nullable=False),
        pa.field("stated_on", pa.date32(), nullable=False),
        pa.field("content_hash", pa.string(), nullable=False),
        pa.field("numerator", pa.int64()),
        pa.field("denominator", pa.int64()),
        pa.field("value", pa.float64()),
        *(pa.field(name, pa.string(), nullable=False) for name in ("evidence", "vouched_by_role", "source")),
        pa.field("received_at", pa.timestamp("us", tz="UTC"), nullable=False),
    ]
)
REFUSED = pa.schema(
    [
        *(
            pa.field(name, pa.string(), nullable=False)
            for name in ("stage", "source", "record_key", "content_hash", "reason", "clause", "detail")
        ),
        pa.field("excerpt", pa.string()),
        pa.field("quarantined_at", pa.timestamp("us", tz="UTC"), nullable=False),
    ]
)


class ObservationApiSettings(BaseModel):
    """A system that gives observations as JSON.

    It answers a list of objects, or `{"observations": [...], "next": "<URL of the next page>"}`. The
    fields of an object are those of `HEADINGS`; others are skipped unread.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: HttpUrl
    #: Environment variable that holds the bearer token; none for a system that asks for none.
    token_env: VariableName | None = None
    most_pages: Annotated[PositiveInt, Field(le=10_000)] = 1000
    manners: HttpManners = HttpManners()


class Reading(NamedTuple):
    """What came of reading: new statements, reasons for refusals (quarantine's columns), and the books.

    rows_read = rows.num_rows + rows_unchanged + rows_refused; blank rows of a template say nothing and
    are counted apart. A refused row may have several reasons; an unusable file is one refused row.
    """

    rows: pa.Table
    refused: pa.Table
    rows_read: int
    rows_unchanged: int
    rows_refused: int
    rows_blank: int
    #: What the places of everything that was read begin with; None where what is not there need not be gone.
    prefix: str | None
    #: Places of files that may still be written to: they were not read.
    waiting: tuple[str, ...] = ()
    #: Pages that came whole, or not at all because they had not changed, for the next pull (`conditional`).
    documents: Mapping[str, Document] = MappingProxyType({})

    @property
    def files_waiting(self) -> int:
        """How many files wait for the next reading."""
        return len(self.waiting)


def read_observations(
    folder: Path,
    *,
    indicators: Iterable[Observable],
    units: pa.Table,
    now: datetime,
    known: pa.Table | None = None,
    settle_seconds: float = 60.0,
) -> Reading:
    """Read every CSV and XLSX file of `folder`, subfolders included.

    `units` are rows of core_unit, `known` the statements stored so far: one that is known already is
    counted as unchanged, so that the same file twice changes nothing. Files younger than
    `settle_seconds` at `now` may still be written to and wait for the next reading; hidden files and
    Excel's locks (~$) are no data. A folder that does not exist raises `Permanent`.
    """
    if not folder.is_dir():
        raise Permanent(f"{folder}: thư mục số liệu không tồn tại (no such folder)", key="observations")
    book = Book(indicators, units, now=now)
    found = [path for path in sorted(folder.rglob("*")) if _is_data(path, folder)]
    intake = _Intake(book, known)
    waiting = []
    for path in found:
        name = path.relative_to(folder).as_posix()
        personal = book.personal(name) or ("thông tin của một người" if tells_person(name) else None)
        place = f"{_FILE}{masked(name)}{ending(name)}" if personal else f"{_FILE}{name}"
        if path.stat().st_mtime > now.timestamp() - settle_seconds:
            waiting.append(place)
        elif personal:
            text = f"tên tệp có vẻ chứa {personal}; hãy đổi tên tệp"
            # Several of one length are told apart by the hash alone, which is stored under the home's key.
            intake.unusable(place, UnusableFileError("personal_file_name", text), named=name)
        else:
            intake.take_all(_readable(path, name), name, place)
    # A folder without any file may be a share that is not there tonight.
    return intake.reading(prefix=_FILE if found else None, waiting=tuple(waiting))


def _is_data(path: Path, folder: Path) -> bool:
    parts = path.relative_to(folder).parts
    return path.is_file() and not any(part.startswith((".", "~$")) for part in parts)


def _readable(path: Path, name: str) -> Iterator[Record | UnusableFileError]:
    try:
        yield from records_of(path, name)
    except UnusableFileError as error:
        yield error


class _Intake:
    """Takes records in one by one, and says at the end what came of them."""

    def __init__(self, book: Book, known: pa.Table | None) -> None:
        self.book = book
        self.known = set() if known is None else set(known["content_hash"].to_pylist())
        self.accepted: dict[str, tuple[dict[str, Any], Record]] = {}
        self.refused: list[dict[str, Any]] = []
        self.books: Counter[str] = Counter()

    def take_all(self, records: Iterable[Record | UnusableFileError], source: str, place: str) -> None:
        """Take every record of one place; a file or sheet that cannot be read counts as one refused."""
        for record in records:
            if isinstance(record, UnusableFileError):
                self.unusable(f"{place}, {record.place}" if record.place else place, record)
            else:
                self.take(record, source)

    def take(self, record: Record, source: str) -> None:
        """Take one record: blank, refused, known already, or accepted."""
        if all(record.cells.get(field, BLANK).is_blank for field in ("numerator", "denominator", "value")):
            self.books["blank"] += 1
            return
        self.books["read"] += 1
        statement, problems = statement_of(record, self.book)
        if statement is None:
            self._refuse(record, problems)
        elif statement["content_hash"] in self.known or statement["content_hash"] in self.accepted:
            self.books["unchanged"] += 1
        else:
            row = statement | {"source": source, "received_at": self.book.now}
            self.accepted[statement["content_hash"]] = (row, record)

    def unchanged(self, rows: int) -> None:
        """A page that did not come because nothing in it has changed; every row of it was accepted when it came."""
        self.books["read"] += rows
        self.books["unchanged"] += rows

    def unusable(self, place: str, error: UnusableFileError, *, named: str | None = None) -> None:
        """A file or sheet that could not be read counts as one refused row, `named` when `place` does not tell it."""
        self.books["read"] += 1
        where = place[:1].upper() + place[1:]
        self._entry(
            place,
            hash_of([named or place, error.reason]),
            Problem(reason=error.reason, field="", text=f"{where}: {error}"),
        )
        self.books["refused"] += 1

    def reading(self, *, prefix: str | None, waiting: tuple[str, ...] = ()) -> Reading:
        """What came of all that was taken; statements that contradict each other are refused first."""
        self._refuse_contradictions()
        return Reading(
            rows=pa.Table.from_pylist([row for row, _ in self.accepted.values()], schema=OBSERVATIONS),
            refused=pa.Table.from_pylist(self.refused, schema=REFUSED),
            rows_read=self.books["read"],
            rows_unchanged=self.books["unchanged"],
            rows_refused=self.books["refused"],
            rows_blank=self.books["blank"],
            prefix=prefix,
            waiting=waiting,
        )

    def _refuse_contradictions(self) -> None:
        """Two new statements of one day that give different numbers: nobody can tell which one holds."""
        same: dict[tuple[Any, ...], list[str]] = defaultdict(list)
        for content_hash, (row, _) in self.accepted.items():
            same[tuple(row[name] for name in (*SUBJECT, "stated_on"))].append(content_hash)
        for hashes in same.values():
            if len({tuple(self.accepted[each][0][name] for name in NUMBERS) for each in hashes}) > 1:
                places = [self.accepted[each][1].where for each in hashes]
                for each in hashes:
                    row, record = self.accepted.pop(each)
                    others = "; ".join(place for place in places if place != record.where)
                    text = f"cùng chỉ số, đơn vị, kỳ và ngày xác nhận nhưng số khác với {others}; giữ lại một dòng"
                    self._refuse(record, [Problem(reason="contradicting_statement", field="", text=text)])

    def _refuse(self, record: Record, problems: Iterable[Problem]) -> None:
        self.books["refused"] += 1
        content_hash = hash_of(text_of(record.cells[field]) for field in sorted(record.cells))
        excerpt = excerpt_of(record, self.book)
        for problem in problems:
            column = f", cột “{HEADINGS[problem.field]}”" if problem.field else ""
            place = record.where[:1].upper() + record.where[1:]
            shown_text = Problem(reason=problem.reason, field=problem.field, text=f"{place}{column}: {problem.text}")
            self._entry(record.where, content_hash, shown_text, excerpt)

    def _entry(self, key: str, content_hash: str, problem: Problem, excerpt: str | None = None) -> None:
        self.refused.append(
            {
                "stage": "extract",
                "source": SOURCE,
                "record_key": key,
                "content_hash": content_hash,
                "reason": problem.reason,
                "clause": problem.field or "record",
                # A count has never nine digits; what has may be somebody's number.
                "detail": re.sub(r"\d{9,}", lambda run: f"«{len(run[0])} chữ số»", problem.text),
                "excerpt": excerpt,
                "quarantined_at": self.book.now,
            }
        )


_Scalar = str | int | float | bool | None


class _Item(msgspec.Struct, gc=False):
    """One observation as a system sends it; everything else in the object is skipped unread."""

    indicator: _Scalar = None
    unit_code: _Scalar = None
    unit_name: _Scalar = None
    scope: _Scalar = None
    period: _Scalar = None
    period_start: _Scalar = None
    numerator: _Scalar = None
    denominator: _Scalar = None
    value: _Scalar = None
    evidence: _Scalar = None
    vouched_by_role: _Scalar = None
    stated_on: _Scalar = None


class _Page(msgspec.Struct, gc=False):
    observations: list[msgspec.Raw]
    next: str | None = None


class ObservationWalk:
    """Page after page of a system's observations: no I/O, no clock.

    Pages among `documents` are asked for only if they have changed. `heard` has what is to be kept of each page
    that came whole, by its number; a page that has not changed gives no records, and itself as `Step.origin`.
    """

    def __init__(
        self,
        settings: ObservationApiSettings,
        *,
        documents: Mapping[str, Document] = MappingProxyType({}),
        now: datetime | None = None,
    ) -> None:
        self.url = str(settings.url)
        self.most_pages = settings.most_pages
        self.heard: dict[int, Document] = {}
        self._documents = documents
        self._now = now
        self._seen: dict[str, int] = {}

    def key(self, page: int) -> str:
        """By what the page of that number is kept."""
        return document_key(next(url for url, number in self._seen.items() if number == page))

    @property
    def origin(self) -> str:
        """Scheme, host and port: what every call is made below, and the only place the token is sent to."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    def begin(self) -> Sequence[Call]:
        """The first page."""
        return [self._call(self.url)]

    def accept(self, call: Call, reply: Reply) -> Step:
        """The records of a page, and the call for the next one if it names one."""
        if reply.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            raise Permanent(f"{call} answered HTTP {reply.status}", hint="Check the token", key="token_env")
        before = self._documents.get(self.key(call.tag))
        if reply.status == HTTPStatus.NOT_MODIFIED and before is not None and call.headers:
            return Step(calls=self._following(before.note["next"]), where=str(call.tag), origin=before)
        ensure_usable(call, reply)
        page = _page(call, reply)
        calls = self._following(page.next)
        if self._now and (document := Document.of(reply, now=self._now, before=before, next=page.next)):
            self.heard[call.tag] = document
        return Step(records=[bytes(item) for item in page.observations], calls=calls, where=str(call.tag))

    def _following(self, link: str | None) -> list[Call]:
        return [] if link is None else [self._call(urljoin(self.url, link))]

    def forgive(self, call: Call, error: Exception) -> bool:  # noqa: ARG002  a page that is missing is a hole
        """Never: statements that are missing would look like offices that did not report."""
        return False

    def _call(self, url: str) -> Call:
        parts = urlsplit(url)
        if f"{parts.scheme}://{parts.netloc}" != self.origin:
            raise Permanent("the next page is on another host; the token is not sent there", key="url")
        if url in self._seen or len(self._seen) >= self.most_pages:
            raise Permanent(f"page {len(self._seen) + 1} repeats or is beyond most_pages", key="url")
        self._seen[url] = len(self._seen) + 1
        query = tuple(parse_qsl(parts.query, keep_blank_values=True))
        known = self._documents.get(document_key(url))
        headers = known.headers(now=self._now) if known and self._now else ()
        return Call(parts.path, query, headers, tag=len(self._seen))


def _page(call: Call, reply: Reply) -> _Page:
    kinds: tuple[Any, ...] = (_Page, list[msgspec.Raw])
    for kind in kinds:
        try:
            found: _Page | list[msgspec.Raw] = msgspec.json.decode(reply.body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        return _Page(found) if isinstance(found, list) else found
    raise Permanent(f"{call} did not answer observations", hint='Expected a list or {"observations": [...]}', key="url")


def pull_observations(
    settings: ObservationApiSettings,
    *,
    name: str,
    indicators: Iterable[Observable],
    units: pa.Table,
    now: datetime,
    known: pa.Table | None = None,
    documents: Mapping[str, Document] = MappingProxyType({}),
) -> Reading:
    """Pull what a system states; `name` is what the configuration calls it, and what rows carry as source.

    Otherwise as `read_observations`. `documents` are those of an earlier reading that was stored: a page among
    them that has not changed is not sent again, and its rows count as unchanged. Raises `MissingSecret`,
    `Permanent`, and `Transient` after the last try; then nothing is taken over, for half of the pages would look
    like offices that are silent.
    """
    walk = ObservationWalk(settings, documents=documents, now=now)
    pages = asyncio.run(_pull(settings, walk))
    intake = _Intake(Book(indicators, units, now=now), known)
    kept: dict[str, Document] = {}
    for page in pages:
        if document := _taken(intake, page, name, walk):
            kept[walk.key(int(page.where))] = document
    refused = intake.books["refused"]
    reading = intake.reading(prefix=f"nguồn {name}, ")
    # Statements that contradict each other are found last, and nobody says then on which pages they stood.
    return reading._replace(documents=kept) if reading.rows_refused == refused else reading


def _taken(intake: _Intake, page: Step, name: str, walk: ObservationWalk) -> Document | None:
    """Take a page in; what to keep of it, None when a row of it was refused: it is to be judged again each time."""
    number = int(page.where)
    if isinstance(page.origin, Document):
        intake.unchanged(page.origin.note["rows"])
        return page.origin
    read, refused = intake.books["read"], intake.books["refused"]
    intake.take_all(_items(page, name), name, f"nguồn {name}")
    if number not in walk.heard or intake.books["refused"] > refused:
        return None
    document = walk.heard[number]
    return replace(document, note={**document.note, "rows": intake.books["read"] - read})


async def _pull(settings: ObservationApiSettings, walk: ObservationWalk) -> list[Step]:
    headers = {"Accept": "application/json"}
    if settings.token_env:
        headers["Authorization"] = f"Bearer {secret(settings.token_env)}"
    async with light_sender(walk.origin, settings.manners, headers=headers) as send:
        return [step async for step in Loop.over(send, settings.manners).run(walk)]


def _items(step: Step, name: str) -> Iterator[Record | UnusableFileError]:
    for number, raw in enumerate(step.records, start=1):
        where = f"nguồn {name}, trang {step.where}, bản ghi {number}"
        try:
            item = msgspec.json.decode(raw, type=_Item)
        except (msgspec.DecodeError, UnicodeDecodeError):
            place = f"trang {step.where}, bản ghi {number}"
            yield UnusableFileError("unreadable_record", "không đúng dạng JSON của một quan sát", place=place)
            continue
        yield Record(where=where, cells={field: Cell(value) for field, value in msgspec.structs.asdict(item).items()})
