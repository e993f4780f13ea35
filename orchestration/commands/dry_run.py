"""`thuocdo night --dry-run`: what a night would ask of each source, without asking or writing anything.

Belongs here: which sources a night reads, and how their first calls are told. Does not belong here: the calls
themselves, which the sources' own walks name (`assets.raw.rehearsal`), or the night (`orchestration.run`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from assets.dossiers.catalogue import SOURCE as CATALOGUE
from assets.dossiers.catalogue import is_due, settings_key
from assets.dossiers.directory import SOURCE as UNITS
from assets.dossiers.directory import settings_key as directory_key
from assets.raw.rehearsal import rehearse
from connectors.catalogue import CatalogueServiceSettings, CatalogueWalk
from connectors.evaluation import EvaluationSettings, EvaluationWalk, Question, spans_until
from connectors.manners import CallingHours
from connectors.observations import ObservationWalk
from connectors.protocol import Call
from connectors.settings import HttpManners
from connectors.units import UnitServiceSettings, UnitWalk
from expectations.wording import count_vi
from orchestration.partitions import ZONE, days_to_extract, yesterday
from orchestration.settings import Home, Province
from warehouse.database import Database
from warehouse.lake import Lake

#: Kinds of questions that are shown of one source; the rest is counted.
_SHOWN = 12
#: Values of parameters that are shown: days and times. Others may hold more than an operator should see.
_DAY = re.compile(r"\d{1,2}/\d{1,2}/\d{4}|\d{4}-\d{2}-\d{2}.{0,20}")
#: What only the answers can tell, by kind of source.
_BEYOND = {
    "opencps": "thêm các trang sau, 2 lần hỏi lại mỗi cửa sổ trống và 2 cuộc gọi mỗi hồ sơ mới hoặc thay đổi",
    "igate": "thêm các trang sau, đăng nhập và 1 cuộc gọi lệ phí mỗi nhóm hồ sơ mới hoặc thay đổi",
    "npsp-catalogue": "thêm đăng nhập và 1 cuộc gọi mỗi thủ tục trong danh sách",
    "npsp-units": "thêm đăng nhập",
    "observations": "thêm các trang sau",
    "evaluation": "thêm các trang sau",
}


@dataclass(frozen=True)
class Asked:
    """What a night would ask of one source. `calls` is None where that is not known before it is asked."""

    name: str
    kind: str
    calls: tuple[Call, ...] | None = ()
    further: int = 0
    days: tuple[datetime, datetime] | None = None
    manners: HttpManners | None = None
    note: str = ""

    @property
    def minutes(self) -> float:
        """Minutes that the calls take at the source's pace, if it answers at once."""
        pace = self.manners.requests_per_second if self.manners else 1.0
        return (len(self.calls or ()) + self.further) / pace / 60


@dataclass(frozen=True)
class Plan:
    """A night that was not run: the days it would cover, and what it would ask."""

    first: date
    last: date
    asked: tuple[Asked, ...]


def plan(home: Home, province: Province, *, first: date | None, last: date | None, now: datetime) -> Plan:
    """What `thuocdo night` would ask at `now` with the same arguments. Makes no call and writes nothing."""
    database = Database.existing(home.database_url)
    until = database.extracted_until(province.sources) if database else None
    due = days_to_extract(until, start_on=province.start_on, last=last or yesterday(now))
    days = (first or due[0], due[1])
    asked = [
        *_sources(home, province, database, days, now),
        *_catalogues(province, database, days[1]),
        *_directories(province, database, days[1]),
        *_observations(province),
        *_evaluation(province.evaluation, days[1]),
    ]
    return Plan(*days, tuple(asked))


def _sources(
    home: Home, province: Province, database: Database | None, days: tuple[date, date], now: datetime
) -> Iterator[Asked]:
    stored = database.cursors() if database else {}
    window = (_midnight(days[0]), _midnight(days[1] + timedelta(days=1)))
    for name, settings in province.sources.items():
        cursors = stored.get(name, {})
        found = rehearse(name, settings, window=window, lake=Lake(home.lake), cursors=cursors, now=now)
        manners: HttpManners | None = getattr(settings, "manners", None)
        if found is None and manners is None:
            yield Asked(name, settings.kind, note="đọc tệp hoặc cơ sở dữ liệu, không gọi HTTP (no HTTP call)")
        elif found is None:
            yield Asked(name, settings.kind, calls=None, manners=manners)
        else:
            span = (found.span.start, found.span.end)
            yield Asked(name, settings.kind, found.calls, found.further, span, manners)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=ZONE)


def _catalogues(province: Province, database: Database | None, last: date) -> Iterator[Asked]:
    asked = database.cursor(CATALOGUE, settings_key(province.catalogue)) if database else None
    due = is_due(asked, on=last, every_days=province.catalogue_every_days)
    for number, settings in enumerate(province.catalogue):
        name = f"catalogue.{number}"
        if not isinstance(settings, CatalogueServiceSettings):
            yield Asked(name, settings.kind, note="đọc tệp, không gọi HTTP (no HTTP call)")
        elif not due:
            yield Asked(name, settings.kind, manners=settings.manners, note="đêm nay chưa đến hạn hỏi lại (not due)")
        else:
            walk = CatalogueWalk(settings.share_endpoint)
            yield Asked(name, settings.kind, tuple(walk.begin()), manners=settings.manners)


def _directories(province: Province, database: Database | None, last: date) -> Iterator[Asked]:
    for number, settings in enumerate(province.units):
        name = f"units.{number}"
        asked = database.cursor(UNITS, directory_key(settings)) if database else None
        if not isinstance(settings, UnitServiceSettings):
            yield Asked(name, settings.kind, note="đọc tệp, không gọi HTTP (no HTTP call)")
        elif not is_due(asked, on=last, every_days=province.units_every_days):
            yield Asked(name, settings.kind, manners=settings.manners, note="đêm nay chưa đến hạn hỏi lại (not due)")
        else:
            calls = tuple(UnitWalk(settings.share_endpoint).begin())
            yield Asked(name, settings.kind, calls, manners=settings.manners)


def _observations(province: Province) -> Iterator[Asked]:
    for name, settings in province.observation_sources.items():
        calls = tuple(ObservationWalk(settings).begin())
        yield Asked(f"observation_sources.{name}", "observations", calls, manners=settings.manners)


def _evaluation(settings: EvaluationSettings | None, last: date) -> Iterator[Asked]:
    if settings is None:
        return
    spans = spans_until(last + timedelta(days=1))
    questions = [Question(endpoint, span) for span in spans for endpoint in settings.endpoints]
    manners = HttpManners(requests_per_second=1 / settings.pause_seconds, concurrency=1, attempts=settings.attempts)
    yield Asked("evaluation", "evaluation", tuple(EvaluationWalk(questions, settings).begin()), manners=manners)


def lines(found: Plan, *, now: datetime) -> Iterator[str]:
    """The plan for a terminal: Vietnamese, the essence in English beside it."""
    yield (
        f"Chạy thử đêm {found.first:%d/%m/%Y} – {found.last:%d/%m/%Y}: không gọi nguồn nào, không ghi gì "
        "(dry run: nothing is called or written)"
    )
    for asked in found.asked:
        yield ""
        yield from _of_source(asked, now)
    known = [asked for asked in found.asked if asked.calls is not None]
    least = sum(len(asked.calls or ()) for asked in known)
    yield ""
    yield f"Tổng cộng ít nhất {count_vi(least)} cuộc gọi (calls at least)"


def _of_source(asked: Asked, now: datetime) -> Iterator[str]:
    between = f": {' – '.join(f'{end.astimezone(ZONE):%d/%m/%Y %H:%M}' for end in asked.days)}" if asked.days else ""
    yield f"{asked.name} ({asked.kind}){between}"
    if asked.note:
        yield f"  {asked.note}"
        return
    if asked.calls is None:
        yield "  không biết trước số cuộc gọi (number of calls not known beforehand)"
    else:
        yield from _of_calls(asked, asked.calls)
    if asked.manners:
        yield f"  {_of_manners(asked.manners, now)}"


def _of_calls(asked: Asked, calls: Sequence[Call]) -> Iterator[str]:
    yield f"  ít nhất {count_vi(len(calls))} cuộc gọi (at least)"
    if asked.further:
        yield f"  theo hồ sơ đã lưu, khoảng {count_vi(asked.further)} trang nữa (more pages, by what is stored)"
    if beyond := _BEYOND.get(asked.kind):
        yield f"  chưa kể: {beyond} (not counted: what only the answers tell)"
    kinds = Counter(_question(call) for call in calls)
    for question, count in list(kinds.items())[:_SHOWN]:
        yield f"    {count_vi(count)} × {question}"
    if len(kinds) > _SHOWN:
        rest = list(kinds.values())[_SHOWN:]
        yield f"    … và {count_vi(sum(rest))} cuộc gọi cho {count_vi(len(rest))} cửa sổ khác (and other windows)"
    yield f"  ít nhất {_lasting(asked.minutes)} theo nhịp này (time at this pace, at least)"


def _question(call: Call) -> str:
    days = [f"{name}={value}" for name, value in call.params if _DAY.fullmatch(value)]
    return " ".join([str(call), *_told(call.tag), *days])


def _told(tag: Any) -> Iterator[str]:
    if isinstance(tag, Question):
        yield f"{tag.span.kind} {tag.span.start:%d/%m/%Y}"


def _of_manners(manners: HttpManners, now: datetime) -> str:
    hours = CallingHours.of(manners.calling_hours)
    wait = hours.wait(now)
    closed = f" (đang ngoài giờ, mở sau {wait // timedelta(minutes=1)} phút)" if wait else ""
    pace = f"{manners.requests_per_second:g}".replace(".", ",")
    return f"nhịp {pace} cuộc gọi/giây, cùng lúc nhiều nhất {manners.concurrency}; giờ gọi: {hours}{closed}"


def _lasting(minutes: float) -> str:
    said = f"{minutes:.1f} phút" if minutes >= 1 else f"{minutes * 60:.1f} giây"
    return said.replace(".", ",")
