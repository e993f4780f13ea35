"""The invented dossiers: what happens to each of them and when, decided once from a seed.

Belongs here: arrivals, handling unit, procedure, sources, papers, fees and the timeline of events of
every dossier, as columns of numbers. Does not belong here: what is true at an instant (see
`truth.py`) and how a source words it (see `portal.py`, `onestop.py`, `messages.py`).

Instants are seconds since 1970, UTC; `NEVER` stands for an event that does not happen. Rates differ
by level, unit and month as published figures do, so that some targets are met and some missed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from sandbox.calendar import DAY_SECONDS, Integers, instant, local_day, working_calendar
from sandbox.territory import LEVELS, REFERENCE, Territory, territory

Flags = NDArray[np.bool_]
Reals = NDArray[np.float64]
Columns = dict[str, NDArray[np.generic]]

VIETNAM = ZoneInfo("Asia/Ho_Chi_Minh")
NEVER = np.int64(1) << np.int64(53)
HOUR = 3600


def seconds(at: datetime) -> int:
    """Whole seconds since 1970 of an instant; a time without zone is refused."""
    if at.tzinfo is None:
        raise ValueError(f"{at.isoformat()} has no zone; say for instance {at.isoformat()}+07:00")
    return int(at.timestamp())


STARTS_AT = datetime(2024, 1, 1, tzinfo=VIETNAM)
#: Where the clock stands unless it is moved: the end of the last whole month.
DEFAULT_CLOCK = datetime(2026, 11, 1, tzinfo=VIETNAM)
#: Dossiers go on arriving until here, so that the clock can move on.
ENDS_AT = datetime(2026, 11, 15, tzinfo=VIETNAM)
#: The district level ended and the communes were redrawn.
REORGANISED_AT = datetime(2025, 7, 1, tzinfo=VIETNAM)
#: Open dossiers were handed to the successors early that morning.
HANDED_OVER_AT = datetime(2025, 7, 1, 0, 5, tzinfo=VIETNAM)

DIRECT, ONLINE, POST = 0, 1, 2
CHANNELS = ("direct", "online", "post")
FULL, PARTIAL, INFORMATION = 0, 1, 2
SERVICE_LEVELS = ("full", "partial", "information")
METHODS = ("online", "cash", "transfer")
#: Lists of databases that a message may name (DSKetNoiCSDL); no list at all, an empty one, codes.
DATABASES: tuple[tuple[str, ...] | None, ...] = (None, (), ("1",), ("7",), ("3",), ("5", "1"))
#: National status codes of an ended dossier.
WITHDRAWN, STOPPED, DONE = 7, 8, 9
#: How the same dossier is called: one code, a code of the national portal besides, or a substitute.
PLAIN, NATIONAL, SUBSTITUTE = 0, 1, 2

#: Everything that can happen to a dossier and be seen in a source.
EVENTS = [
    "submitted",
    "received",
    "denied",
    "processed",
    "asked1",
    "answered1",
    "asked2",
    "answered2",
    "fee_asked",
    "done_early",
    "reopened",
    "ended",
    "returned",
    "paid",
    "refunded",
    "result",
    "handed_over",
]

#: Chance by level (province, district, commune) before the effects of unit and month.
_RATES: dict[str, tuple[float, float, float]] = {
    "online": (0.24, 0.60, 0.74),
    "paid_online": (0.42, 0.20, 0.47),
    "attached": (0.45, 0.55, 0.66),
    "digitised": (0.40, 0.50, 0.62),
    "result": (0.55, 0.66, 0.90),
    "reused": (0.52, 0.66, 0.86),
    "vneid": (0.30, 0.35, 0.55),
    "on_time": (0.93, 0.91, 0.975),
}
#: Growth of each rate over the whole span, in logits.
_TRENDS = {"online": 0.9, "paid_online": 0.7, "attached": 0.5, "digitised": 0.8, "result": 0.5, "reused": 0.4}


@dataclass(frozen=True)
class Population:
    """Every dossier of the province with its whole timeline; nothing in it depends on the clock.

    `columns` holds one array per fact, all of the same length.
    """

    seed: int
    columns: Mapping[str, NDArray[np.generic]]

    def __len__(self) -> int:
        return len(self.columns["submitted"])

    @property
    def territory(self) -> Territory:
        """Units and procedures that the columns point into."""
        return territory()

    def whole(self, name: str) -> Integers:
        """A column of integers or instants."""
        return self.columns[name].astype(np.int64, copy=False)

    def flag(self, name: str) -> Flags:
        """A column of truth values."""
        return self.columns[name].astype(np.bool_, copy=False)

    def changed(self, after: int, until: int) -> Integers:
        """Rows to which something happens in (after, until], instants in seconds."""
        touched = np.zeros(len(self), dtype=np.bool_)
        for name in EVENTS:
            when = self.whole(name)
            touched |= (when > after) & (when <= until)
        return np.flatnonzero(touched)

    def last_event(self, at: int) -> Integers:
        """Instant of the last event up to `at` of each dossier; -NEVER when nothing happened yet."""
        latest = np.full(len(self), -NEVER, dtype=np.int64)
        for name in EVENTS:
            when = self.whole(name)
            np.maximum(latest, np.where(when <= at, when, -NEVER), out=latest)
        return latest

    def truth(self, at: datetime) -> dict[str, pa.Table]:
        """What is really so at an instant: tables `dossier` and `payment` (see `truth.py`)."""
        # truth.py reads timelines, so it imports this module.
        from sandbox.truth import truth_tables  # noqa: PLC0415

        return truth_tables(self, at)


def build_population(
    dossiers: int = 60_000, seed: int = 3478, *, orphan_steps: bool = False, deleted_one_in: int = 0
) -> Population:
    """Invent `dossiers` dossiers submitted up to the default clock, and the next two weeks' besides.

    The same numbers give the same population on every machine. A few dossiers' messages are held back
    for a day while their progress is sent: with `orphan_steps` also of dossiers that no other source
    has, so that for a day nobody can say whose progress it is. Of the dossiers that only the portal or only the
    one-stop holds, one in `deleted_one_in` is deleted there some time after (0: none).
    """
    if dossiers < 1:
        raise ValueError(f"a province needs at least one dossier, not {dossiers}")
    rng = np.random.default_rng(seed)
    # What was invented later draws from a stream of its own, so that the older facts of a seed stay.
    later = np.random.default_rng([seed, 766])
    place = territory()
    columns: Columns = _arrivals(rng, dossiers)
    columns |= _busy_days(later, columns, dossiers)
    columns |= _handling(rng, columns, place)
    columns |= _rare_handling(later, columns, place)
    rates = _rates(rng, columns)
    columns |= _channels(rng, columns, rates, place)
    columns |= _sources(rng, columns)
    columns |= _reception(rng, later, columns)
    columns |= _deadline(rng, later, columns, place)
    columns |= _processing(rng, columns, rates)
    columns |= _interruptions(rng, later, columns)
    columns |= _left_open(later, columns)
    columns |= _papers(rng, columns, rates)
    columns |= _fees(rng, columns, rates)
    columns |= _results(rng, columns, rates)
    columns |= _databases(later, columns)
    columns |= _registration(columns)
    columns |= _succession(later, columns, place)
    columns |= _staleness(rng, columns)
    columns |= _reception_units(later, columns, place)
    columns |= _identities(rng, columns, place)
    columns |= _wording(rng, columns)
    columns |= _posting(rng, columns, orphan_steps=orphan_steps)
    columns |= _deletions(np.random.default_rng([seed, 404]), columns, deleted_one_in)
    return Population(seed=seed, columns=columns)


def _whole(columns: Columns, name: str) -> Integers:
    return columns[name].astype(np.int64, copy=False)


def _flag(columns: Columns, name: str) -> Flags:
    return columns[name].astype(np.bool_, copy=False)


def _chance(rng: np.random.Generator, count: int, probability: float | Reals) -> Flags:
    drawn: Flags = rng.random(count) < probability
    return drawn


def _between(rng: np.random.Generator, low: Integers | int, high: Integers | int, count: int) -> Integers:
    """Whole numbers from `low` up to and including `high`."""
    return rng.integers(low, np.maximum(high, low) + 1, size=count, dtype=np.int64)


def _office_second(rng: np.random.Generator, count: int) -> Integers:
    """A second of the day within office hours, 07:30 to 11:30 and 13:00 to 16:59:59."""
    second = rng.integers(0, 8 * HOUR, size=count, dtype=np.int64)
    return np.where(second < 4 * HOUR, second + 27_000, second - 4 * HOUR + 46_800)


def _arrivals(rng: np.random.Generator, dossiers: int) -> Columns:
    """Submission: more every month, few on days off, some around midnight at month and year ends, some on 29/02."""
    days = np.arange(seconds(STARTS_AT) // DAY_SECONDS + 1, seconds(ENDS_AT) // DAY_SECONDS + 1)
    weight = np.where(working_calendar().is_working(days), 1.0, 0.12) * np.linspace(1.0, 1.7, len(days))
    split = int(np.searchsorted(days, local_day(np.array([seconds(DEFAULT_CLOCK)]))[0]))
    extra = max(1, round(dossiers * weight[split:].sum() / weight[:split].sum()))
    day = np.concatenate(
        [
            rng.choice(days[:split], size=dossiers, p=weight[:split] / weight[:split].sum()),
            rng.choice(days[split:], size=extra, p=weight[split:] / weight[split:].sum()),
        ]
    )
    count = dossiers + extra
    night = _chance(rng, count, 0.15)
    second = np.where(night, rng.integers(17 * HOUR, 24 * HOUR, size=count), _office_second(rng, count))
    submitted = instant(day, second)
    edge = _chance(rng, count, 0.006)
    edge[dossiers:] = False
    submitted[edge] = _edge_instants(rng, int(edge.sum()))
    order = np.argsort(submitted, kind="stable")
    return {"submitted": submitted[order], "edge": edge[order]}


def _edge_instants(rng: np.random.Generator, count: int) -> Integers:
    """Instants within 23:30 to 00:30 around month ends, or on 29/02/2024."""
    months = pd.date_range("2024-02-01", "2026-10-01", freq="MS", tz=VIETNAM)
    starts = (months.as_unit("s").asi8).astype(np.int64)
    leap = instant(np.array([pd.Timestamp("2024-02-29").value // (DAY_SECONDS * 10**9)]), 10 * HOUR)[0]
    year_ends = starts[(months.month == 1)]
    kind = rng.random(count)
    around = np.where(kind < 0.2, rng.choice(year_ends, size=count), rng.choice(starts, size=count))
    edge = around + rng.integers(-1800, 1801, size=count)
    # Exact midnight is the boundary that rules disagree on.
    edge = np.where(rng.random(count) < 0.05, around, edge)
    return np.where(kind > 0.9, leap + rng.integers(-3 * HOUR, 6 * HOUR, size=count), edge)


def _busy_days(rng: np.random.Generator, columns: Columns, dossiers: int) -> Columns:
    """Some come in the last hours before Tết, on make-up Saturdays, and in the districts' last week."""
    submitted = _whole(columns, "submitted").copy()
    days = working_calendar().days
    days = days[(days >= local_day(np.array([seconds(STARTS_AT)]))) & (days < seconds(DEFAULT_CLOCK) // DAY_SECONDS)]
    gap = np.diff(days, append=days[-1] + 1)
    # Only Tết closes the offices for more than six days.
    eve = instant(rng.choice(days[gap > 6], size=len(submitted)), rng.integers(50_400, 61_200, size=len(submitted)))
    # Day 2 of 1970 was a Saturday.
    saturday = instant(rng.choice(days[days % 7 == 2], size=len(submitted)), _office_second(rng, len(submitted)))
    last_day = local_day(np.array([seconds(REORGANISED_AT)]))[0] - 1
    week = days[(days <= last_day) & (days > last_day - 8)]
    last_week = instant(rng.choice(week, size=len(submitted)), _office_second(rng, len(submitted)))
    drawn = rng.random(len(submitted))
    moved = (drawn < 0.010) & ~_flag(columns, "edge") & (np.arange(len(submitted)) < dossiers)
    busy = np.where(drawn < 0.003, eve, np.where(drawn < 0.006, saturday, last_week))
    return {"submitted": np.where(moved, busy, submitted)}


def _handling(rng: np.random.Generator, columns: Columns, place: Territory) -> Columns:
    """Level, procedure and unit at submission."""
    submitted = _whole(columns, "submitted")
    count = len(submitted)
    before = submitted < seconds(REORGANISED_AT)
    drawn = rng.random(count)
    level = np.where(drawn < 0.17, 0, np.where(before & (drawn < 0.40), 1, 2))
    procedure = np.zeros(count, dtype=np.int64)
    for number, name in enumerate(LEVELS):
        rows = np.flatnonzero(level == number)
        catalogue = place.catalogue[name]
        popularity = 1.0 / (np.arange(len(catalogue)) + 4.0) ** 0.9
        procedure[rows] = rng.choice(catalogue, size=len(rows), p=popularity / popularity.sum())
    department = place.procedures.department.to_numpy(dtype=np.int64)[procedure]
    # The published catalogue is thin for some sectors; every department still handles something.
    elsewhere = _chance(rng, count, 0.25)
    department = np.where(elsewhere, rng.integers(0, len(place.department), size=count), department)
    unit = np.where(
        level == 0,
        department,
        np.where(
            level == 1,
            _weighted(rng, place.district, count),
            np.where(before, _weighted(rng, place.old_commune, count), _weighted(rng, place.new_commune, count)),
        ),
    )
    return {"level0": level, "procedure": procedure, "department": department, "unit0": unit}


def _rare_handling(rng: np.random.Generator, columns: Columns, place: Territory) -> Columns:
    """A few procedures limited in hours or months, and more of the last week's dossiers for the split communes."""
    level, procedure, unit = (_whole(columns, name) for name in ("level0", "procedure", "unit0"))
    count = len(level)
    table = place.procedures
    rare = np.flatnonzero(table.limit_unit.isin(("Giờ", "Tháng")) & table.levels.str.contains("Cấp tỉnh"))
    rarely = (level < 2) & _chance(rng, count, 0.05)
    submitted = _whole(columns, "submitted")
    week = (submitted < seconds(REORGANISED_AT)) & (submitted >= seconds(REORGANISED_AT) - 8 * DAY_SECONDS)
    split = np.flatnonzero([place.units[number].code in split_communes() for number in range(len(place.units))])
    bound = week & (level == 2) & _chance(rng, count, 0.15)
    return {
        "procedure": np.where(rarely, rng.choice(rare, size=count), procedure),
        "unit0": np.where(bound, rng.choice(split, size=count), unit),
    }


def _weighted(rng: np.random.Generator, units: range, count: int) -> Integers:
    """Units drawn with sizes that differ about tenfold."""
    size = np.exp(rng.normal(0.0, 0.6, size=len(units)))
    return units.start + rng.choice(len(units), size=count, p=size / size.sum()).astype(np.int64)


def _rates(rng: np.random.Generator, columns: Columns) -> dict[str, Reals]:
    """Chance of each good thing for each dossier: by level, moved by its unit and its month."""
    level, unit = _whole(columns, "level0"), _whole(columns, "unit0")
    submitted = _whole(columns, "submitted")
    span = (submitted - seconds(STARTS_AT)) / (seconds(ENDS_AT) - seconds(STARTS_AT)) - 0.5
    rates = {}
    for name, by_level in _RATES.items():
        base = np.log(np.array(by_level) / (1 - np.array(by_level)))[level]
        effect = rng.normal(0.0, 0.35, size=len(territory().units))[unit]
        rates[name] = 1 / (1 + np.exp(-(base + effect + _TRENDS.get(name, 0.0) * span)))
    return rates


def _channels(rng: np.random.Generator, columns: Columns, rates: dict[str, Reals], place: Territory) -> Columns:
    """Service level of the procedure and the channel; what is not offered online never comes online."""
    procedure = _whole(columns, "procedure")
    count = len(procedure)
    offered = place.procedures.offers_online.to_numpy(dtype=np.bool_)[procedure]
    number = place.procedures.procedure_code.str.replace(".", "").astype(np.int64).to_numpy()[procedure]
    service = np.where(~offered, INFORMATION, np.where(number % 10 < 7, FULL, PARTIAL))
    online = offered & _chance(rng, count, rates["online"])
    # Few arrive by post; whoever hands in at night does so online.
    second = (_whole(columns, "submitted") + 7 * HOUR) % DAY_SECONDS
    night = (second < 27_000) | (second > 61_200)
    online |= offered & (night | _flag(columns, "edge"))
    channel = np.where(online, ONLINE, np.where(_chance(rng, count, 0.07), POST, DIRECT))
    # Nobody is at the counter at night: what cannot come online comes in office hours of the next working day.
    submitted = _whole(columns, "submitted")
    closed = ~online & (night | ~working_calendar().is_working(local_day(submitted)))
    next_day = instant(working_calendar().on_or_after(local_day(submitted)), _office_second(rng, count))
    limit = np.where(submitted < seconds(DEFAULT_CLOCK), seconds(DEFAULT_CLOCK) - 1, NEVER)
    moved = np.where(closed, np.minimum(np.maximum(next_day, submitted), limit), submitted)
    crossed = (submitted < seconds(REORGANISED_AT)) & (moved >= seconds(REORGANISED_AT))
    return {"channel": channel, "service": service, "submitted": np.where(crossed, submitted, moved)}


def _sources(rng: np.random.Generator, columns: Columns) -> Columns:
    """Which sources ever hold the dossier: portal 45 %, one-stop 92 %, messages 84 %, two or more 85 %."""
    online = _whole(columns, "channel") == ONLINE
    count = len(online)
    share = online.mean()
    direct_chance = 0.15
    online_chance = min(0.95, max(0.0, (0.45 - direct_chance * (1 - share)) / share)) if share else 0.0
    portal = _chance(rng, count, np.where(online, online_chance, direct_chance))
    drawn = rng.random(count)
    # Portal: alone 5.5 %, with one-stop 10 %, with messages 4.5 %, all three 80 %.
    # No portal: one-stop alone 16.5 %, messages alone 6.5 %, both 77 %.
    onestop = np.where(portal, (drawn >= 0.055) & ~((drawn >= 0.155) & (drawn < 0.20)), drawn < 0.935)
    messages = np.where(portal, drawn >= 0.155, drawn >= 0.165)
    draft = portal & ~onestop & ~messages & online & _chance(rng, count, 0.15)
    return {"portal": portal, "onestop": onestop, "messages": messages, "draft": draft}


def _reception(rng: np.random.Generator, later: np.random.Generator, columns: Columns) -> Columns:
    """Reception within working hours after submission, a few days late, or refusal, or nothing (drafts)."""
    submitted, channel = _whole(columns, "submitted"), _whole(columns, "channel")
    count = len(submitted)
    calendar = working_calendar()
    day = calendar.on_or_after(local_day(submitted))
    wait = _between(rng, 300, 5 * HOUR, count)
    same_day = submitted + wait
    closing = instant(day, 17 * HOUR)
    late = (same_day >= closing) | (local_day(submitted) != day)
    opening = instant(np.where(local_day(submitted) != day, day, calendar.after(day, np.ones(count, np.int64))), 27_000)
    received = np.where(late, np.maximum(opening, submitted) + wait // 4, same_day)
    # Handed in at the counter is received at once; some portals receive by themselves, also at night.
    at_once = (channel != ONLINE) | _flag(columns, "edge") | _chance(rng, count, 0.03)
    received = np.where(at_once, submitted + _between(rng, 0, 240, count), received)
    received = np.where(_flag(columns, "edge") & _chance(rng, count, 0.5), submitted, received)
    days_late = calendar.after(day, _between(later, 1, 3, count))
    late = (channel == ONLINE) & ~at_once & _chance(later, count, 0.06)
    received = np.where(late, np.maximum(received, instant(days_late, _office_second(later, count))), received)
    refused = _chance(rng, count, 0.015)
    after_reception = refused & (_chance(rng, count, 0.2) | _chance(later, count, 0.25))
    denied = np.where(after_reception, received + _between(rng, HOUR, 30 * HOUR, count), submitted + wait * 6)
    draft = _flag(columns, "draft")
    return {
        "received": np.where(draft | (refused & ~after_reception), NEVER, received),
        "denied": np.where(refused & ~draft, denied, NEVER),
        # Some offices also write the refusal down as the end of processing.
        "closed_refusal": after_reception & _chance(later, count, 0.5),
    }


def _deadline(rng: np.random.Generator, later: np.random.Generator, columns: Columns, place: Territory) -> Columns:
    """Promised return: the procedure's time limit counted in working days, at 17:00; for a few nothing is promised."""
    received = _whole(columns, "received")
    count = len(received)
    table = place.procedures.iloc[_whole(columns, "procedure")]
    limit = table.limit.to_numpy(dtype=np.float64)
    unit = table.limit_unit.to_numpy(dtype=object)
    limit = np.where(np.isnan(limit), rng.choice([1, 3, 5, 10, 15], size=count), limit)
    limit = np.where(unit == "Giờ", np.ceil(limit / 8), np.where(unit == "Tháng", limit * 22, limit))
    working = np.clip(limit, 1, 45).astype(np.int64)
    calendar = working_calendar()
    day = local_day(np.where(received < NEVER, received, seconds(STARTS_AT)))
    by_working = calendar.after(day, working)
    due_day = np.where(unit == "Ngày", calendar.on_or_after(day + working), by_working)
    due = instant(due_day, 17 * HOUR)
    without = _chance(rng, count, 0.012) | (received == NEVER)
    without |= np.isin(unit, ("Giờ", "Tháng")) & _chance(later, count, 0.4)
    return {"natural_due": due, "due0": np.where(without, NEVER, due)}


def _processing(rng: np.random.Generator, columns: Columns, rates: dict[str, Reals]) -> Columns:
    """From reception to the end and the hand-over, without interruptions."""
    due = _whole(columns, "natural_due")
    open_ = (_whole(columns, "received") < NEVER) & (_whole(columns, "denied") == NEVER)
    received = np.where(open_, _whole(columns, "received"), seconds(STARTS_AT))
    count = len(received)
    calendar = working_calendar()
    on_time = _chance(rng, count, rates["on_time"])
    first = local_day(received)
    last = local_day(due)
    share = rng.beta(3.0, 1.6, size=count)
    day = np.minimum(calendar.on_or_after(first + np.floor((last - first) * share).astype(np.int64)), last)
    day = np.where(on_time, day, calendar.after(last, _between(rng, 1, 9, count)))
    ended = instant(day, _office_second(rng, count))
    # Exactly at the promised instant is still on time.
    ended = np.where(on_time & _chance(rng, count, 0.004), due, ended)
    ended = np.maximum(ended, received + 1200)
    drawn = rng.random(count)
    outcome = np.where(drawn < 0.010, WITHDRAWN, np.where(drawn < 0.016, STOPPED, DONE))
    returned = np.where(
        (outcome == DONE) & _chance(rng, count, 0.94),
        np.maximum(instant(calendar.on_or_after(local_day(ended) + _between(rng, 0, 3, count)), 61_000), ended + 60)
        - _between(rng, 0, 50, count),
        NEVER,
    )
    returned = np.where(returned <= ended, ended + 60, returned)
    # A few lie for a day or two before anybody takes them up.
    lying = np.where(_chance(rng, count, 0.15), 40 * HOUR, 4 * HOUR)
    processed = received + np.minimum((ended - received) // 5, lying) + 5
    return {
        "processed": np.where(open_, processed, NEVER),
        "ended": np.where(open_, ended, NEVER),
        "returned": np.where(open_, returned, NEVER),
        "outcome": outcome,
    }


def _interruptions(rng: np.random.Generator, later: np.random.Generator, columns: Columns) -> Columns:
    """Supplements that push the due date, requests for payment, reopening, ends that nobody wrote down."""
    received, processed = _whole(columns, "received"), _whole(columns, "processed")
    ended, returned, due0 = _whole(columns, "ended"), _whole(columns, "returned"), _whole(columns, "due0")
    count = len(received)
    length = np.where(ended < NEVER, ended - processed, 0)
    # Only the message log speaks of supplements; elsewhere there are few, and only status and due date show them.
    one = (length > 6 * HOUR) & _flag(columns, "messages") & _chance(rng, count, 0.07)
    one |= (length > 6 * HOUR) & ~_flag(columns, "messages") & _chance(later, count, 0.02)
    two = one & _chance(rng, count, 0.2)
    wait1, wait2 = (_between(rng, 1, 9, count) * DAY_SECONDS for _ in range(2))
    asked1, asked2 = processed + length // 4, processed + length // 2 + wait1
    answered1, answered2 = asked1 + wait1, asked2 + wait2
    silent = one & _chance(rng, count, 0.12)
    # For some nothing was promised when they were sent back.
    due0 = np.where(one & _chance(later, count, 0.12), NEVER, due0)
    pushed = np.where(one, wait1, 0) + np.where(two, wait2, 0)
    ended = np.where(ended < NEVER, ended + pushed, NEVER)
    returned = np.where(returned < NEVER, returned + pushed, NEVER)
    # Some offices leave the promise as it was, however long they waited.
    unmoved = one & _chance(later, count, 0.25)
    due1 = np.where(unmoved, due0, _pushed(due0, wait1))
    due2 = np.where(unmoved, due0, _pushed(due1, wait2))
    columns_out: Columns = {
        "asked1": np.where(one, asked1, NEVER),
        "answered1": np.where(one & (two | ~silent), answered1, NEVER),
        "asked2": np.where(two, asked2, NEVER),
        "answered2": np.where(two & ~silent, answered2, NEVER),
        "due0": due0,
        "due1": np.where(one, due1, due0),
        # Whether the first request leaves out what had been promised before it.
        "untold_due": one & _chance(later, count, 0.1),
        "due2": np.where(two, due2, np.where(one, due1, due0)),
    }
    ended, returned = (np.where(silent, NEVER, when) for when in (ended, returned))
    reopened = (length > 10 * HOUR) & ~one & (ended < NEVER) & _chance(rng, count, 0.006)
    reopened |= (length > 10 * HOUR) & ~one & (ended < NEVER) & _chance(later, count, 0.004)
    done_early, again = processed + length // 3, processed + length // 2
    # A reopening across the reorganisation would have two handlers at once.
    reopened &= ~((done_early < seconds(REORGANISED_AT)) & (ended >= seconds(REORGANISED_AT)))
    unwritten = (returned < NEVER) & ~reopened & ~one & _chance(rng, count, 0.01)
    return columns_out | {
        "done_early": np.where(reopened, done_early, NEVER),
        "reopened": np.where(reopened, again, NEVER),
        "ended": np.where(unwritten, NEVER, ended),
        "returned": returned,
    }


def _left_open(rng: np.random.Generator, columns: Columns) -> Columns:
    """Of the reopened: some are never closed again, and with some the first end stays written down meanwhile."""
    reopened = _whole(columns, "reopened") < NEVER
    open_ = reopened & _chance(rng, len(reopened), 0.3)
    # Of those that districts and old communes closed, nobody would take over what is open again.
    open_ &= _whole(columns, "done_early") >= seconds(REORGANISED_AT)
    return {
        "ended": np.where(open_, NEVER, _whole(columns, "ended")),
        "returned": np.where(open_, NEVER, _whole(columns, "returned")),
        "kept_end": reopened & _chance(rng, len(reopened), 0.5),
    }


def _pushed(due: Integers, wait: Integers) -> Integers:
    known = np.where(due < NEVER, due, seconds(STARTS_AT))
    moved = instant(working_calendar().on_or_after(local_day(known + wait)), 17 * HOUR)
    return np.where(due < NEVER, moved, NEVER)


def _papers(rng: np.random.Generator, columns: Columns, rates: dict[str, Reals]) -> Columns:
    """Components, how many have a file, are digitised, are reused; only messages know the latter two."""
    count = len(columns["submitted"])
    online, messages = _whole(columns, "channel") == ONLINE, _flag(columns, "messages")
    components = np.clip(1 + rng.poisson(2.0, size=count), 1, 7)
    some = _chance(rng, count, np.where(online, 0.97, rates["attached"]))
    attached = np.where(some, _between(rng, (components + 1) // 2, components, count), 0)
    digitised = np.where(messages & _chance(rng, count, rates["digitised"]), _between(rng, 1, attached, count), 0)
    reused = np.where(messages & _chance(rng, count, rates["reused"]), _between(rng, 1, components, count), 0)
    return {
        "components": components,
        "attached": attached,
        "digitised": np.minimum(digitised, attached),
        "reused": reused,
        "reuse_code": rng.integers(1, 3, size=count),
        "personal_store": messages & _chance(rng, count, 0.08),
        "deleted_paper": _chance(rng, count, 0.02),
        "vneid": messages & _chance(rng, count, np.where(online, rates["vneid"] + 0.2, rates["vneid"] / 4)),
        "has_steps": messages & _chance(rng, count, 0.95),
    }


def _fees(rng: np.random.Generator, columns: Columns, rates: dict[str, Reals]) -> Columns:
    """Fee lines, waivers, payment and refund. All transactions of a dossier are collected at one instant."""
    count = len(columns["submitted"])
    onestop, portal = _flag(columns, "onestop"), _flag(columns, "portal")
    received, ended = _whole(columns, "received"), _whole(columns, "ended")
    has_fee = territory().procedures.has_fee.to_numpy(dtype=np.bool_)[_whole(columns, "procedure")]
    # A portal shows one payment at most, so two lines only where the one-stop shows them.
    lines = np.where(has_fee & ~_chance(rng, count, 0.05), 1 + (onestop & _chance(rng, count, 0.2)), 0)
    first = rng.choice([10, 20, 30, 50, 75, 100, 150, 200, 500, 1000], size=count) * 1000
    second = np.where(_chance(rng, count, 0.2), 0, rng.choice([5, 8, 15, 25], size=count) * 1000)
    waived = (lines > 0) & _chance(rng, count, 0.12)
    # Without one-stop or portal nobody would see the payment: there is none.
    owed = (lines > 0) & ~waived & (onestop | portal) & ~_flag(columns, "draft") & (received < NEVER)
    online = _chance(rng, count, rates["paid_online"])
    late = onestop & (ended < NEVER) & _chance(rng, count, 0.2)
    soon = received + _between(rng, 60, 900, count)
    paid = np.where(late, np.maximum(soon, ended + _between(rng, -HOUR // 2, 5 * DAY_SECONDS, count)), soon)
    asked = owed & onestop & (_whole(columns, "processed") < NEVER) & (_whole(columns, "asked1") == NEVER)
    asked &= (_whole(columns, "done_early") == NEVER) & _chance(rng, count, 0.04)
    fee_asked = _whole(columns, "processed") + 60
    paid = np.where(asked, np.minimum(fee_asked + _between(rng, 1, 4, count) * 20 * HOUR, ended - 300), paid)
    unpaid = ~owed | _chance(rng, count, 0.1) | (asked & (paid <= fee_asked))
    paid = np.where(unpaid, NEVER, paid)
    stuck = asked & (paid == NEVER)
    refunded = np.where(
        (paid < NEVER) & onestop & _chance(rng, count, 0.02), paid + _between(rng, 1, 20, count) * 80_000, NEVER
    )
    return {
        "has_fee": has_fee,
        "lines": lines,
        "amount1": np.where((lines > 0) & ~waived, first, 0),
        "amount2": np.where((lines > 1) & ~waived, second, 0),
        "waived": waived,
        "method": np.where(online, 0, np.where(_chance(rng, count, 0.75), 1, 2)),
        "gateway": rng.integers(1, 3, size=count),
        "paid": paid,
        "refunded": refunded,
        "fee_asked": np.where(asked, fee_asked, NEVER),
        "ended": np.where(stuck, NEVER, ended),
        "returned": np.where(stuck, NEVER, _whole(columns, "returned")),
    }


def _results(rng: np.random.Generator, columns: Columns, rates: dict[str, Reals]) -> Columns:
    """Electronic result: issued at the end, or some days late; the one-stop never shows it."""
    count = len(columns["submitted"])
    ended = np.minimum(_whole(columns, "ended"), _whole(columns, "returned"))
    required = territory().procedures.is_result_required.to_numpy(dtype=np.bool_)[_whole(columns, "procedure")]
    good = (
        (_whole(columns, "outcome") == DONE) & (ended < NEVER) & (_flag(columns, "messages") | _flag(columns, "portal"))
    )
    issued = good & _chance(rng, count, np.where(required, rates["result"], 0.05))
    # A portal cannot be asked what changed after the end, so only what the log also tells comes late.
    late = _flag(columns, "messages") & _chance(rng, count, 0.1)
    result = np.where(late, ended + _between(rng, 1, 12, count) * 70_000, ended)
    return {"result": np.where(issued, result, NEVER)}


def _databases(rng: np.random.Generator, columns: Columns) -> Columns:
    """Which databases the message names, a number of `DATABASES`."""
    count = len(columns["submitted"])
    return {"databases": rng.choice(len(DATABASES), size=count, p=(0.5, 0.1, 0.14, 0.1, 0.1, 0.06))}


@cache
def split_communes() -> frozenset[str]:
    """Codes of the old communes that went to several new ones, in parts that the crosswalk does not tell."""
    crosswalk = pd.read_csv(REFERENCE / "communes_crosswalk_2025-07-01.csv", dtype=str)
    split = set(crosswalk.old_code[(crosswalk.type != "full") | (crosswalk.n_new != "1")])
    communes = [unit.code for unit in territory().units if unit.code.count(".") == 2]
    return frozenset(code for code in communes if code.rsplit(".", 1)[1] in split)


def _registration(columns: Columns) -> Columns:
    """A dossier of the portal gets its code, and reaches the other systems, when it is received or refused."""
    registered = np.minimum(_whole(columns, "received"), _whole(columns, "denied"))
    return {"registered": np.where(_flag(columns, "portal"), registered, _whole(columns, "submitted"))}


def _succession(rng: np.random.Generator, columns: Columns, place: Territory) -> Columns:
    """Dossiers of districts and communes still open on 2025-07-01 go to the successor; done ones keep their unit.

    A few go there in fact only: every source goes on naming the unit that is no more.
    """
    unit0, level0 = _whole(columns, "unit0"), _whole(columns, "level0")
    end = np.minimum.reduce([_whole(columns, name) for name in ("ended", "returned", "denied", "done_early")])
    cut = seconds(REORGANISED_AT)
    handed = (level0 > 0) & (_whole(columns, "submitted") < cut) & (end >= cut)
    successor = place.successor.astype(np.int64)[unit0]
    successor = np.where(successor < 0, _whole(columns, "department"), successor)
    level1 = np.where(level0 == 1, 0, level0)
    split = np.array([unit.code in split_communes() for unit in place.units])[unit0]
    named = handed & (_whole(columns, "registered") < cut) & (_whole(columns, "denied") == NEVER)
    named &= _chance(rng, len(unit0), np.where(split, 0.6, 0.15))
    return {
        "handed_over": np.where(handed & ~named, seconds(HANDED_OVER_AT), NEVER),
        "still_named": named,
        "unit1": np.where(handed, successor, unit0),
        "level1": np.where(handed, level1, level0),
    }


def _staleness(rng: np.random.Generator, columns: Columns) -> Columns:
    """Moments at which a source stopped following status and dates; only where a better source goes on."""
    count = len(columns["submitted"])
    ended, returned = _whole(columns, "ended"), _whole(columns, "returned")
    followed = (_whole(columns, "done_early") == NEVER) & ((ended < NEVER) | (returned < NEVER))
    last = np.where(returned < NEVER, returned, ended)
    earlier = np.where(ended < NEVER, ended, last)
    frozen = np.where(_chance(rng, count, 0.5), last, earlier) - 1
    onestop, portal = _flag(columns, "onestop"), _flag(columns, "portal")
    portal_stale = followed & portal & onestop & _chance(rng, count, 0.02)
    log_stale = followed & _flag(columns, "messages") & (onestop | portal) & _chance(rng, count, 0.025)
    return {
        "portal_until": np.where(portal_stale, frozen, NEVER),
        "messages_until": np.where(log_stale, frozen, NEVER),
    }


def _reception_units(rng: np.random.Generator, columns: Columns, place: Territory) -> Columns:
    """The unit that registers each dossier: the handling one of that day, since 2025-07-01 also any other commune."""
    count = len(columns["submitted"])
    since = _known_at(columns) >= seconds(REORGANISED_AT)
    own = np.where(since, _whole(columns, "unit1"), _whole(columns, "unit0"))
    elsewhere = since & _chance(rng, count, 0.03)
    return {"reception_unit": np.where(elsewhere, rng.choice(place.new_commune, size=count), own)}


def _known_at(columns: Columns) -> Integers:
    registered = _whole(columns, "registered")
    return np.where(registered < NEVER, registered, _whole(columns, "submitted"))


def _identities(rng: np.random.Generator, columns: Columns, place: Territory) -> Columns:
    """Codes of each dossier: `agency-yymmdd-sequence`, the national portal's code, a sender's substitute."""
    known = _known_at(columns)
    count = len(known)
    agency = np.array([unit.onestop for unit in place.units], dtype=object)[_whole(columns, "reception_unit")]
    stamp = pd.Series(pd.to_datetime(local_day(known), unit="D")).dt.strftime("%y%m%d").to_numpy(dtype=object)
    head = pd.Series(agency + "-" + stamp)
    place_in_day = head.groupby(head).cumcount().to_numpy() + 1
    code = [f"{prefix}-{number:04d}" for prefix, number in zip(head, place_in_day, strict=True)]
    national = [f"G22.99-{day}-{number % 1_000_000:06d}" for day, number in zip(stamp, range(count), strict=True)]
    channel, portal, onestop = _whole(columns, "channel"), _flag(columns, "portal"), _flag(columns, "onestop")
    drawn = rng.random(count)
    identity = np.where((channel == ONLINE) & portal & onestop & (drawn < 0.06), NATIONAL, PLAIN)
    other = _flag(columns, "messages") & (portal | onestop) & (identity == PLAIN)
    identity = np.where(other & (drawn > 0.993), SUBSTITUTE, identity)
    return {"code": np.array(code, dtype=object), "national": np.array(national, dtype=object), "identity": identity}


def _wording(rng: np.random.Generator, columns: Columns) -> Columns:
    """Random numbers that decide how a source words a record; none of them changes a fact."""
    count = len(columns["submitted"])
    onestop, portal = _flag(columns, "onestop"), _flag(columns, "portal")
    fresh = _whole(columns, "portal_until") == NEVER
    onestop_blank = onestop & portal & fresh & _chance(rng, count, 0.02)
    return {
        "onestop_blank_due": onestop_blank,
        "portal_blank_due": portal & onestop & ~onestop_blank & _chance(rng, count, 0.02),
        "onestop_blank_submitted": onestop & portal & _chance(rng, count, 0.03),
        "onestop_guessed_submitted": onestop & portal & _chance(rng, count, 0.02),
        "messages_blank_due": (onestop | portal) & _chance(rng, count, 0.03),
        "messages_guessed_submitted": (onestop | portal) & _chance(rng, count, 0.3),
        "noise": rng.integers(0, 1 << 30, size=count),
        "uid_high": rng.integers(0, 1 << 62, size=count),
        "uid_low": rng.integers(0, 1 << 62, size=count),
    }


def _posting(rng: np.random.Generator, columns: Columns, *, orphan_steps: bool) -> Columns:
    """When the message log first holds each dossier: when it is registered, for a few a day or two later.

    Their progress is not held back, so it arrives first. Only dossiers of one code that go on for longer:
    whatever else only the log tells happens later, so being without the message changes no other fact.
    """
    registered = _whole(columns, "registered")
    count = len(registered)
    logged = registered + _between(rng, 24 * HOUR, 48 * HOUR, count)
    ends = np.minimum.reduce(
        [_whole(columns, name) for name in ("ended", "returned", "denied", "done_early", "result")]
    )
    held = _flag(columns, "has_steps") & (_whole(columns, "identity") == PLAIN) & (ends > logged)
    held &= orphan_steps | _flag(columns, "onestop") | _flag(columns, "portal")
    held &= (_whole(columns, "received") < logged) & _chance(rng, count, 0.05)
    return {"held_back": held, "logged": np.where(held, logged, registered)}


def _deletions(rng: np.random.Generator, columns: Columns, one_in: int) -> Columns:
    """When the only system that holds a dossier deletes it, and when the portal does so for the second time.

    The portal's first deletion turns a sign, its second one removes the row; a draft goes at once, and so does a
    dossier of the one-stop. What another system holds too is left alone: there, it would still be true.
    """
    known, portal = _known_at(columns), _flag(columns, "portal")
    count = len(known)
    alone = (portal != _flag(columns, "onestop")) & ~_flag(columns, "messages")
    chosen = alone & _chance(rng, count, 1 / one_in if one_in else 0.0)
    wait = np.where(_chance(rng, count, 0.5), _between(rng, 60, 86_400, count), _between(rng, HOUR, 90 * 86_400, count))
    deleted = np.where(chosen, known + wait, NEVER)
    again = np.where(_chance(rng, count, 0.5), deleted + _between(rng, 60, 10 * 86_400, count), NEVER)
    at_once = _flag(columns, "draft") | ~portal
    return {"deleted": deleted, "erased": np.where(chosen, np.where(at_once, deleted, again), NEVER)}
