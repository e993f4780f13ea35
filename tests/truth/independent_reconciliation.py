"""What the sources disagree about a second time: dossier by dossier, from what each one was made to say.

Belongs here: what portal, one-stop and message log say of each dossier at an instant (which codes, dates and
states the sandbox leaves out, freezes or replaces), the written rules of reconciliation over them (the
indicators' rule 2.2 for what is late; docs/decisions/0016-reconciliation.md), and the findings that follow.
Does not belong here: anything of the product.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from sandbox.messages import MessageLog
from sandbox.population import NATIONAL, NEVER, SUBSTITUTE, Population
from sandbox.truth import STEPS, state_at, visible_at
from tests.truth.independent import Truth, is_received

#: Instants that agree, and how long a dossier may be on its way.
_TOLERANCE, _GRACE = 60, 3 * 86_400
_BURST, _BURST_CHANGES = 60, 3
_DAY, _ZONE = 86_400, 7 * 3600
_RECEIVED = (2, 4, 5, 6, 7, 8, 9, 10)
_DONE = (9, 10)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One finding: the dossier's code, its kind, how it came about, and for a late one whether others say so."""

    code: str
    kind: str
    pattern: str | None = None
    lateness: str | None = None


@dataclass(frozen=True, kw_only=True)
class Said:
    """What one source says of a dossier; instants in seconds, None for nothing."""

    code: str | None
    status: int
    received: int | None
    due: int | None
    completed: int | None
    returned: int | None
    denied: int | None

    @property
    def ended(self) -> int | None:
        """The end by 2.2 in this source's words."""
        if self.status in _DONE:
            return self.completed if self.completed is not None else self.returned
        if self.status == 3:
            return self.denied if self.denied is not None else self.completed
        return self.completed if self.status in (7, 8) else None


@dataclass(frozen=True)
class Sources:
    """The three sources at an instant, in seconds since 1970."""

    population: Population
    at: int

    @cached_property
    def visible(self) -> Mapping[str, np.ndarray]:
        """Which rows each source holds."""
        return dict(zip(("portal", "onestop", "messages"), visible_at(self.population, self.at), strict=True))

    @cached_property
    def _states(self) -> Mapping[str, list[Said]]:
        rows, frozen = np.arange(len(self.population)), {"portal": "portal_until", "messages": "messages_until"}
        found = {}
        for source in self.visible:
            at = np.minimum(self.at, self.population.whole(frozen[source])) if source in frozen else self.at
            state = state_at(self.population, at, rows)
            due = np.where(self.population.flag(f"{source}_blank_due"), NEVER, state.due)
            denied = state.denied if source == "messages" else np.full(len(rows), NEVER)
            instants = (state.received, due, state.completed, state.returned, denied)
            found[source] = [
                Said(
                    code=code,
                    status=status,
                    received=_known(when[0]),
                    due=_known(when[1]),
                    completed=_known(when[2]),
                    returned=_known(when[3]),
                    denied=_known(when[4]),
                )
                for code, status, *when in zip(
                    self._codes[source], state.status.tolist(), *(each.tolist() for each in instants), strict=True
                )
            ]
        return found

    @cached_property
    def _codes(self) -> Mapping[str, list[str]]:
        population = self.population
        own, national = population.columns["code"], population.columns["national"]
        shown = (population.whole("identity") == NATIONAL) & (population.whole("noise") % 2 == 0)
        return {
            "portal": np.where(shown, national, own).tolist(),
            "onestop": own.tolist(),
            "messages": [code.upper() for code in MessageLog(population, Path()).codes],
        }

    def of(self, row: int) -> dict[str, Said]:
        """What each source that holds it says of a dossier."""
        return {source: self._states[source][row] for source, rows in self.visible.items() if rows[row]}


def _known(when: int) -> int | None:
    return None if when >= NEVER else when


def expected_findings(truth: Truth, population: Population) -> list[Finding]:
    """Every finding of what has a code; a draft has none and is nobody else's business."""
    at = int(truth.as_of.timestamp())
    sources = Sources(population, at)
    places = {code: row for row, code in enumerate(population.columns["code"].tolist())}
    dossier = truth.dossier[truth.dossier.dossier_code.notna()]
    dossier = dossier.assign(is_received=is_received(dossier), row=dossier.dossier_code.map(places))
    found: list[Finding] = []
    for each in pa.Table.from_pandas(dossier, preserve_index=False).to_pylist():
        said = sources.of(each["row"])
        code = each["dossier_code"]
        found += [Finding(code=code, kind=kind) for kind in _absences(each, said, at)]
        found += [Finding(code=code, kind=kind, pattern=pattern) for kind, pattern in _disagreements(said)]
        found += _code_mismatch(code, int(population.whole("identity")[each["row"]]), said)
        found += _bursts(population, each, at)
        found += _late(population, each, said, at)
    return [*found, *_twins(dossier)]


def _absences(dossier: Mapping[str, Any], said: Mapping[str, Said], at: int) -> Iterator[str]:
    """Received three days ago or more, and still only here, or not in the log."""
    if not dossier["is_received"] or dossier["received_at"].timestamp() > at - _GRACE:
        return
    if len(said) == 1:
        yield f"only_in_{next(iter(said))}"
    if "messages" not in said:
        yield "missing_in_messages"


def _disagreements(said: Mapping[str, Said]) -> Iterator[tuple[str, str | None]]:
    """Channel, procedure, unit, payment and result are never worded apart by these senders."""
    if len({one.status for one in said.values()}) > 1:
        yield "status", None
    for kind, name, demanded in (
        ("received_date", "received", _RECEIVED),
        ("due_date", "due", _RECEIVED),
        ("end_date", "ended", _DONE),
    ):
        values = [getattr(one, name) for one in said.values()]
        given = [value for value in values if value is not None]
        lacks = any(getattr(one, name) is None and one.status in demanded for one in said.values())
        apart = [abs(a - b) for a, b in combinations(given, 2) if _is_apart(a, b)]
        if apart:
            yield kind, _clock(apart)
        elif given and lacks:
            yield kind, "missing_value"


def _is_apart(a: int, b: int) -> bool:
    """More than a minute; a time of midnight is a day without a time."""
    if 0 in ((a + _ZONE) % _DAY, (b + _ZONE) % _DAY):
        return (a + _ZONE) // _DAY != (b + _ZONE) // _DAY
    return abs(a - b) > _TOLERANCE


def _clock(apart: list[int]) -> str | None:
    """Half a day or the zone's seven hours apart, to the minute."""
    for seconds, pattern in ((_ZONE, "zone_7h"), (12 * 3600, "clock_12h")):
        if any(abs(each - seconds) <= _TOLERANCE for each in apart):
            return pattern
    return None


def _code_mismatch(code: str, identity: int, said: Mapping[str, Said]) -> Iterator[Finding]:
    if len({one.code for one in said.values()}) > 1:
        patterns = {NATIONAL: "national_code", SUBSTITUTE: "substitute_code"}
        yield Finding(code=code, kind="code_mismatch", pattern=patterns.get(identity))


def _bursts(population: Population, dossier: Mapping[str, Any], at: int) -> Iterator[Finding]:
    """Three changes of status within a minute that end the dossier."""
    row = int(dossier["row"])
    if not population.flag("has_steps")[row]:
        return
    changes = _changes(population, row, at)
    for place, (when, status) in enumerate(changes):
        recent = [earlier for earlier, _ in changes[: place + 1] if when - earlier <= _BURST]
        if status in _DONE and len(recent) >= _BURST_CHANGES:
            received = int(population.whole("received")[row])
            pattern = "entered_at_once" if min(recent) <= received + _BURST else None
            yield Finding(code=str(dossier["dossier_code"]), kind="status_burst", pattern=pattern)
            return


def _changes(population: Population, row: int, at: int) -> list[tuple[int, int]]:
    registered = int(population.whole("registered")[row])
    steps = []
    for name, after in STEPS:
        when = int(population.whole(name)[row])
        if when <= at:
            steps.append((max(when, registered), after or int(population.whole("outcome")[row])))
    ordered = sorted(steps, key=lambda step: step[0])
    return ordered[:1] + [step for before, step in pairwise(ordered) if before[1] != step[1]]


def _twins(dossier: pd.DataFrame) -> Iterator[Finding]:
    """One that the log alone has and one that it lacks, of one procedure and unit, received in one second."""
    received = dossier[dossier.is_received]
    alone = received[received.in_messages & ~received.in_portal & ~received.in_onestop]
    lacking = received[~received.in_messages]
    both = alone.merge(lacking, on=["procedure_code", "unit_code", "received_at"], suffixes=("_log", "_local"))
    for code in [*both.dossier_code_log, *both.dossier_code_local]:
        yield Finding(code=code, kind="duplicate_code", pattern="same_instant")


def _late(population: Population, dossier: Mapping[str, Any], said: Mapping[str, Said], at: int) -> Iterator[Finding]:
    """Late by 2.2, and what the systems that are not believed for handling make of it."""
    if dossier["received_at"] is None or dossier["status_code"] == 1:
        return
    facts = _Facts.of(dossier, at)
    code = str(dossier["dossier_code"])
    if facts.supplements > 1:
        yield Finding(code=code, kind="late", pattern="supplements", lateness="real")
    elif facts.deadline is not None and facts.end > facts.deadline:
        answers = [
            _in_time(facts, one, _request(population, dossier, at), at)
            for source, one in said.items()
            if source != _believed(said) and one.status != 1 and not _is_invented(source, said)
        ]
        given = [answer for answer in answers if answer is not None]
        lateness = "one_source" if not given else "sync" if any(given) else "real"
        yield Finding(code=code, kind="late", lateness=lateness)


def _believed(said: Mapping[str, Said]) -> str:
    """Officers work in the one-stop system; else the portal; the log last."""
    return next(source for source in ("onestop", "portal", "messages") if source in said)


def _is_invented(source: str, said: Mapping[str, Said]) -> bool:
    """A log that sends what waits or was stopped as finished has no end of its own."""
    paused = any(one.status in (5, 6, 8) for name, one in said.items() if name != "messages")
    return source == "messages" and said[source].status == 9 and paused


@dataclass(frozen=True, kw_only=True)
class _Facts:
    """What is true of a late dossier, in seconds (a deadline to the microsecond)."""

    end: float
    deadline: float | None
    basis: str
    due: float | None
    received: float
    supplements: int

    @classmethod
    def of(cls, dossier: Mapping[str, Any], at: int) -> _Facts:
        ended, deadline, due = (_seconds(dossier[name]) for name in ("ended_at", "deadline_at", "due_at"))
        return cls(
            end=at if ended is None else ended,
            deadline=deadline,
            basis=str(dossier["deadline_basis"]),
            due=due,
            received=_seconds(dossier["received_at"]) or 0,
            supplements=int(dossier["supplement_count"]),
        )


def _seconds(instant: datetime | None) -> float | None:
    return None if instant is None else instant.timestamp()


def _request(population: Population, dossier: Mapping[str, Any], at: int) -> int | None:
    """The last request for papers that was not answered, as the log tells."""
    row = int(dossier["row"])
    asked = [
        int(population.whole(f"asked{number}")[row])
        for number in ("1", "2")
        if population.whole(f"asked{number}")[row] <= at < population.whole(f"answered{number}")[row]
    ]
    return max(asked) if asked and dossier["in_messages"] else None


def _in_time(facts: _Facts, said: Said, request: int | None, at: int) -> bool | None:
    """By one other system's own end and promise; None where it says neither."""
    open_end = {2: at, 4: at, 5: request, 6: request}.get(said.status)
    end = said.ended if said.ended is not None else open_end
    if end is None and said.due is None:
        return None
    return (facts.end if end is None else end) <= _their_deadline(facts, said)


def _their_deadline(facts: _Facts, said: Said) -> float:
    """The deadline with their promise in place of ours, or counted from their reception where none was made."""
    deadline = facts.deadline or 0
    if said.due is None:
        is_by_limit = facts.basis == "limit" and said.received is not None
        return deadline + ((said.received or 0) - facts.received) if is_by_limit else deadline
    # Their promise may have been moved by the very wait that the deadline has been moved by.
    if facts.supplements or facts.due is None:
        return max(deadline, said.due)
    return deadline + (said.due - facts.due)
