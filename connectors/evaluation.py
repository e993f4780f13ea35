"""The national portal's published evaluation (766): its public reporting API, read as a courtesy.

Belongs here: the questions that are asked, the two shapes of answers, and when to stop. Does not belong
here: what the numbers mean, or how they compare with ours (`assets/scorecards/evaluation.py`).

It is the traffic of a public page, without a contract (indicators 2.5). Hence:

- one call at a time, a pause between calls, a few tries;
- 401, 403 and 429 stop the reading at once, and for the rest of the night: nothing is tried again;
- an answer is asked for once a night and kept in memory;
- every field is read as it stands: null stays null and is not 0, quality flags are carried along.

What looks like a person is not kept: a name or a message has its length in its place, and an id or a code in whose
place one stands ends the reading, like any shape that is not known.

Two shapes: overview + evaluation[] with metrics[] (code, numerator, denominator, ratio, score, maxScore),
and parent + children[] with their numbers as fields; children may lack them. Satisfaction is asked for
by days, the others by kind of period.
"""

# ruff: noqa: N815  fields are named as the source names them
from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from http import HTTPStatus
from typing import Any, Literal

import httpx
import msgspec
import pyarrow as pa
from aiolimiter import AsyncLimiter
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

from connectors.loop import Loop, Send
from connectors.person_fields import is_personal, masked, shown
from connectors.protocol import Call, Permanent, Reply, Step, Transient, Walk, ensure_usable
from connectors.settings import BaseUrl, HttpManners

#: The six groups that carry points, by the last part of their address.
ENDPOINTS = (
    "transparency",
    "dvc-progress-tree",
    "provide-online-tree",
    "formality-online-payment-tree",
    "dossier-digitized",
    "handling-satisfaction",
)
#: Asked for with fromDate and toDate.
_BY_DAYS = frozenset({"handling-satisfaction"})
_REFUSED = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS})
_MONTHS = {"month": 1, "quarter": 3, "year": 12}
#: Of a tree's entry, what is not one of its numbers.
_NOT_FIELDS = frozenset({"stt", "ratio", "score", "maxScore", "totalScore", "totalMaxScore", "scoreDelta"})
_HINT = "The national portal has no duty to answer; read what was read before, and try another night"

Kind = Literal["month", "quarter", "year"]

#: One row per unit and metric, field of a tree, or group score; the columns of `raw_evaluation` without `read_at`.
PUBLISHED = pa.schema(
    [
        pa.field("endpoint", pa.string(), nullable=False),
        pa.field("period", pa.string(), nullable=False),
        pa.field("period_start", pa.date32(), nullable=False),
        pa.field("department_id", pa.string(), nullable=False),
        pa.field("department_code", pa.string()),
        pa.field("department_name", pa.string()),
        pa.field("is_root", pa.bool_(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("code", pa.string(), nullable=False),
        *(pa.field(name, pa.float64()) for name in ("numerator", "denominator", "ratio", "score", "max_score")),
        pa.field("quality_status", pa.string()),
        pa.field("quality_message", pa.string()),
    ]
)


class EvaluationSettings(BaseModel):
    """Reading the national portal's published evaluation (indicators 2.5)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base_url: BaseUrl = Field(default="https://dichvucong.gov.vn/api/v1/reporting", validate_default=True)
    #: The province's own id on the portal, a UUID that its public page sends.
    root_department_id: str = Field(min_length=1)
    page_rows: PositiveInt = Field(default=200, le=200)
    #: Time between two calls; the six groups of one period take six of them.
    pause_seconds: PositiveFloat = 3.0
    timeout_seconds: PositiveFloat = 60.0
    attempts: PositiveInt = Field(default=2, le=3)
    endpoints: tuple[str, ...] = ENDPOINTS


@dataclass(frozen=True, order=True)
class Span:
    """A month, quarter or year as the portal knows them, by its first day."""

    kind: Kind
    start: date

    @property
    def end(self) -> date:
        """Last day."""
        index = self.start.year * 12 + self.start.month - 1 + _MONTHS[self.kind]
        return date(index // 12, index % 12 + 1, 1) - timedelta(days=1)


@dataclass(frozen=True)
class Question:
    """One group in one period; `page` counts from 1."""

    endpoint: str
    span: Span
    page: int = 1

    def body(self, settings: EvaluationSettings) -> dict[str, Any]:
        """What is posted."""
        paging = {
            "rootDepartmentId": settings.root_department_id,
            "currentPage": self.page,
            "pageSize": settings.page_rows,
        }
        if self.endpoint in _BY_DAYS:
            return {"fromDate": self.span.start.isoformat(), "toDate": self.span.end.isoformat(), **paging}
        period: dict[str, Any] = {"timeType": self.span.kind, "year": self.span.start.year}
        if self.span.kind == "quarter":
            period["quarter"] = (self.span.start.month + 2) // 3
        if self.span.kind == "month":
            period["month"] = self.span.start.month
        return period | paging


class _Metric(msgspec.Struct):
    code: str
    numerator: float | None = None
    denominator: float | None = None
    ratio: float | None = None
    score: float | None = None
    maxScore: float | None = None
    dataQualityStatus: str | None = None
    dataQualityMessage: str | None = None


class _Paging(msgspec.Struct):
    currentPage: int = 1
    totalPages: int = 1


class _Data(msgspec.Struct):
    overview: dict[str, Any] | None = None
    evaluation: list[dict[str, Any]] | None = None
    parent: dict[str, Any] | None = None
    children: list[dict[str, Any]] | None = None
    pagination: _Paging | None = None


class _Envelope(msgspec.Struct):
    data: _Data


_envelopes = msgspec.json.Decoder(_Envelope)


class EvaluationWalk(Walk):
    """Asks its questions one after the other and reads the answers."""

    def __init__(self, questions: Sequence[Question], settings: EvaluationSettings) -> None:
        self._questions = tuple(questions)
        self._settings = settings

    def begin(self) -> Sequence[Call]:
        """The first page of every question."""
        return [self._call(question) for question in self._questions]

    def _call(self, question: Question) -> Call:
        return Call(f"/evaluation/{question.endpoint}", tag=question, method="POST")

    def accept(self, call: Call, reply: Reply) -> Step:
        """Take an answer in; a refusal is final."""
        if reply.status in _REFUSED:
            raise Permanent(f"{call} answered HTTP {reply.status}: the portal asks not to be read", hint=_HINT)
        ensure_usable(call, reply, hint=_HINT)
        question: Question = call.tag
        data = _decode(call, reply)
        rows = [msgspec.json.encode(row) for row in _rows(call, question, data, self._settings)]
        paging = data.pagination or _Paging()
        further = question.page == paging.currentPage and question.page < paging.totalPages
        calls = [self._call(replace(question, page=question.page + 1))] if further else []
        return Step(records=rows, calls=calls, where=str(question), origin=replace(question, page=1))


def _decode(call: Call, reply: Reply) -> _Data:
    try:
        return _envelopes.decode(reply.body).data
    except msgspec.ValidationError as error:
        raise Permanent(f"{call} answered in a shape that is not known: {error}", hint=_HINT) from None
    except msgspec.DecodeError:
        raise Transient(f"{call}: the answer was cut off", hint=_HINT) from None


def _rows(call: Call, question: Question, data: _Data, settings: EvaluationSettings) -> Iterable[dict[str, Any]]:
    root, units = data.overview or data.parent, data.evaluation or data.children or ()
    if root is None:
        raise Permanent(f"{call} answered neither an overview nor a parent", hint=_HINT)
    if root.get("departmentId") != settings.root_department_id:
        raise Permanent(f"{call} answered for another agency than root_department_id", key="root_department_id")
    # The province stands on every page; it is taken from the first.
    for unit in [root, *units] if question.page == 1 else units:
        yield from _of_unit(call, question, unit, is_root=unit is root)


def _of_unit(call: Call, question: Question, unit: Mapping[str, Any], *, is_root: bool) -> Iterable[dict[str, Any]]:
    if not isinstance(unit.get("departmentId"), str):
        raise Permanent(f"{call} answered an entry without departmentId", hint=_HINT)
    code, name = (_text(call, unit, key) for key in ("departmentCode", "departmentName"))
    place = {
        "endpoint": question.endpoint,
        "period": question.span.kind,
        "period_start": question.span.start,
        "department_id": _code(call, "departmentId", unit["departmentId"]),
        "department_code": masked(code) if code and is_personal("agencyCode", code) else code,
        "department_name": name and shown(name),
        "is_root": is_root,
    }
    yield place | {
        "kind": "group",
        "code": "",
        "ratio": _number(call, unit, "ratio"),
        "score": _number(call, unit, "totalScore" if "totalScore" in unit else "score"),
        "max_score": _number(call, unit, "totalMaxScore" if "totalMaxScore" in unit else "maxScore"),
    }
    metrics = unit.get("metrics")
    yield from (place | row for row in (_fields(unit) if metrics is None else _metrics(call, metrics)))


def _code(call: Call, name: str, said: str) -> str:
    """An id or code as it is; `Permanent`, without a word of it, when it looks like a person."""
    if is_personal("code", said):
        raise Permanent(f"{call} answered a {name} that is no code ({len(said)} characters)", hint=_HINT)
    return said


def _text(call: Call, unit: Mapping[str, Any], name: str) -> str | None:
    said = unit.get(name)
    if said is not None and not isinstance(said, str):
        raise Permanent(f"{call} answered a {name} that is no text", hint=_HINT)
    return said


def _number(call: Call, unit: Mapping[str, Any], name: str) -> float | None:
    said = unit.get(name)
    if said is not None and not _is_number(said):
        raise Permanent(f"{call} answered a {name} that is no number", hint=_HINT)
    return said


def _is_number(said: Any) -> bool:
    return isinstance(said, (int, float)) and not isinstance(said, bool)


def _metrics(call: Call, metrics: Any) -> Iterable[dict[str, Any]]:
    try:
        found = msgspec.convert(metrics, list[_Metric])
    except msgspec.ValidationError as error:
        raise Permanent(f"{call} answered metrics in a shape that is not known: {error}", hint=_HINT) from None
    for metric in found:
        yield {
            "kind": "metric",
            "code": _code(call, "code", metric.code),
            "numerator": metric.numerator,
            "denominator": metric.denominator,
            "ratio": metric.ratio,
            "score": metric.score,
            "max_score": metric.maxScore,
            "quality_status": _word(metric.dataQualityStatus),
            "quality_message": _word(metric.dataQualityMessage),
        }


def _word(said: str | None) -> str | None:
    return said and shown(said)


def _fields(unit: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """Every number of a tree's entry, by its own name; a null stays in sight. No number is named like somebody."""
    for name, value in unit.items():
        is_field = name not in _NOT_FIELDS and not name.startswith("department") and not is_personal("status", name)
        if is_field and (value is None or _is_number(value)):
            yield {"kind": "field", "code": name, "numerator": value}


@dataclass
class PublishedEvaluation:
    """What the portal publishes, read once a night: further questions of the same kind are answered from memory.

    `send` makes the calls in tests; without it they go out over HTTP.
    """

    settings: EvaluationSettings
    send: Send | None = None
    _answers: dict[Question, list[dict[str, Any]]] = field(default_factory=dict, init=False, repr=False)
    _refusal: Permanent | None = field(default=None, init=False, repr=False)

    async def read(self, spans: Iterable[Span]) -> pa.Table:
        """Rows of `PUBLISHED` of every group in the named periods.

        Raises `Permanent` when the portal refuses, and at once, without a call, when it refused before.
        """
        asked = [Question(endpoint, span) for span in spans for endpoint in self.settings.endpoints]
        missing = [question for question in asked if question not in self._answers]
        if missing:
            await self._fetch(missing)
        return pa.Table.from_pylist([row for question in asked for row in self._answers[question]], schema=PUBLISHED)

    async def _fetch(self, questions: Sequence[Question]) -> None:
        if self._refusal is not None:
            raise self._refusal
        gathered: dict[Question, list[dict[str, Any]]] = {question: [] for question in questions}
        manners = HttpManners(concurrency=1, attempts=self.settings.attempts)
        async with _sender(self.settings, self.send) as send:
            loop = Loop(send, manners, AsyncLimiter(1, self.settings.pause_seconds))
            try:
                async for step in loop.run(EvaluationWalk(questions, self.settings)):
                    gathered[step.origin].extend(_typed(record) for record in step.records)
            except Permanent as error:
                self._refusal = error
                raise
        self._answers |= gathered


def _typed(record: bytes) -> dict[str, Any]:
    row: dict[str, Any] = msgspec.json.decode(record)
    return row | {"period_start": date.fromisoformat(row["period_start"])}


@asynccontextmanager
async def _sender(settings: EvaluationSettings, given: Send | None) -> AsyncIterator[Send]:
    if given is not None:
        yield given
        return
    async with httpx.AsyncClient(timeout=settings.timeout_seconds) as client:

        async def send(call: Call) -> Reply:
            """POST one call; `Transient` when the portal does not answer in time or breaks off."""
            try:
                response = await client.post(f"{settings.base_url}{call.path}", json=call.tag.body(settings))
            except (httpx.TransportError, httpx.DecodingError) as error:
                raise Transient(f"{call}: {type(error).__name__}", hint="The portal did not answer") from error
            return Reply(response.status_code, response.headers, response.content)

        yield send


def spans_until(day: date) -> tuple[Span, ...]:
    """What a night of `day` asks for: the last full month, its quarter and the year, as far as they have begun.

    The portal answers for a month only once it is over.
    """
    last = day.replace(day=1) - timedelta(days=1)
    month = last.replace(day=1)
    quarter = month.replace(month=(month.month - 1) // 3 * 3 + 1)
    return Span("month", month), Span("quarter", quarter), Span("year", month.replace(month=1))
