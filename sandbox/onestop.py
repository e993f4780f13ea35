"""The one-stop system's records, as VNPT iGate v2 words them (sources 4.1).

Belongs here: the JSON of a list item and of its fee lines, and the order by update. Does not belong
here: HTTP, tokens and pages (see `server.py`), nor what is true.

The same thing is worded in several ways, as seen in public code: status as object or number, the
procedure's name as object or array, dates with +0700 and +0000.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from sandbox.broken import BrokenRecord
from sandbox.calendar import Integers
from sandbox.codes import ONESTOP_CHANNELS, ONESTOP_METHODS, ONESTOP_SERVICE_LEVELS, ONESTOP_STATUSES
from sandbox.people import POOL, people
from sandbox.population import METHODS, NATIONAL, NEVER, Flags, Population
from sandbox.truth import State, settled_at, state_at, unit_at, visible_at
from sandbox.wire import escaped, iso_texts

_STATUS_NAMES = {code: name for code, name, _ in ONESTOP_STATUSES}
#: iGate's number for each national status; 4 (in process) has two variants besides.
_STATUS_NUMBERS = {value: code for code, _, value in reversed(ONESTOP_STATUSES)}
_LEVEL_CODES = {"province": "SOBANNGANH", "district": "QUANHUYEN", "commune": "PHUONGXA"}
_PROVINCE_AGENCY = '{"id":"6500000000000000000000ff","code":"H15","name":"UBND tỉnh Đắk Lắk"}'


class _Said(NamedTuple):
    """What one item says, dates as JSON."""

    identity: str
    code: str
    nation_code: str
    status: int
    procedure: int
    service: int
    unit: int
    channel: int
    applied: str
    accepted: str
    appointment: str
    completed: str
    returned: str
    updated: str
    payment: str
    components: int
    attached: int
    noise: int


@dataclass
class OnestopIndex:
    """The one-stop system at an instant: rendered items, newest update first; `update` moves it on."""

    population: Population
    at: int
    items: list[bytes] = field(default_factory=list)
    updated: Integers = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    status: Integers = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    #: Visible positions, newest update first.
    newest_first: list[int] = field(default_factory=list)
    #: Records beside the dossiers that no reader can accept; their positions come last.
    broken: tuple[BrokenRecord, ...] = ()
    _gone: set[int] = field(default_factory=set)
    _late: Integers = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    _turns: int = 0

    def __post_init__(self) -> None:
        total = len(self.rows)
        self.items = [b""] * total
        self.updated, self.status = np.full(total, -NEVER), np.full(total, -1, dtype=np.int64)
        self._render(np.arange(total))

    @cached_property
    def rows(self) -> Integers:
        """The population row behind each position."""
        broken = np.array([record.row for record in self.broken], dtype=np.int64)
        return np.concatenate([np.flatnonzero(self.population.flag("onestop")), broken])

    @property
    def _first_broken(self) -> int:
        return len(self.rows) - len(self.broken)

    def broken_keys(self) -> list[tuple[BrokenRecord, str]]:
        """Each broken record that is visible, and the key a reader gives it: its id."""
        places = enumerate(self.broken, start=self._first_broken)
        return [(record, record.identity) for place, record in places if self.items[place]]

    @cached_property
    def ids(self) -> list[str]:
        """24 hexadecimal digits at each position, as Mongo makes them."""
        high, low = (self.population.whole(name)[self.rows].tolist() for name in ("uid_high", "uid_low"))
        ids = [
            f"{0x65000000 + (a & 0xFFFFFF):08x}{a >> 24 & 0xFFFFFFFF:08x}{b & 0xFFFFFFFF:08x}"
            for a, b in zip(high, low, strict=True)
        ]
        return ids[: self._first_broken] + [record.identity for record in self.broken]

    @cached_property
    def position_by_id(self) -> dict[str, int]:
        """Position of each id."""
        return {identity: position for position, identity in enumerate(self.ids)}

    @cached_property
    def position_by_code(self) -> dict[str, int]:
        """Position of each code."""
        codes = self.population.columns["code"][self.rows[: self._first_broken]].tolist()
        return {code: position for position, code in enumerate([*codes, *(record.code for record in self.broken)])}

    def update(self, at: int, *, late: Integers | None = None) -> None:
        """Move to a later instant.

        What happened to the population rows `late` is written down but not committed yet: they look as before,
        until an update does not name them any more. They then carry the time at which it was written.
        """
        changed = np.zeros(len(self.population), dtype=np.bool_)
        changed[self.population.changed(self.at, at)] = True
        changed[self._late] = True
        self._late = np.zeros(0, dtype=np.int64) if late is None else late[changed[late]]
        changed[self._late] = False
        self._remove(np.flatnonzero(self.population.whole("deleted")[self.rows] <= at))
        self.at = at
        self._render(np.flatnonzero(changed[self.rows]))

    def _remove(self, positions: Integers) -> None:
        """Deleted dossiers leave nothing behind."""
        for position in positions.tolist():
            self.items[position] = b""
        self.updated[positions], self.status[positions] = -NEVER, -1

    def _render(self, positions: Integers) -> None:
        visible = visible_at(self.population, self.at)[1][self.rows[positions]]
        positions = positions[visible]
        rows = self.rows[positions]
        state = state_at(self.population, self.at, rows)
        # Never back to before what a churn said.
        self.updated[positions] = np.maximum(self.updated[positions], self.population.last_event(self.at)[rows])
        self.status[positions] = self._status_numbers(rows, state)
        for position, item in zip(positions.tolist(), self._items(positions, rows, state), strict=True):
            self.items[position] = item if position < self._first_broken else self._break(position, item)
        self._order()

    def _order(self) -> None:
        there = np.flatnonzero(self.updated > -NEVER)
        order = there[np.argsort(-self.updated[there], kind="stable")].tolist()
        self.newest_first = [position for position in order if position not in self._gone]

    def _break(self, position: int, item: bytes) -> bytes:
        broken = self.broken[position - self._first_broken]
        if broken.breakage.field == "dossierStatus":
            self.status[position] = broken.breakage.said["id"]
        return broken.patched(item, {"id": broken.identity, "code": broken.code}).encode()

    def begin_walk(self) -> None:
        """Bring back what vanished: somebody asks for the first page."""
        if self._gone:
            self._gone.clear()
            self._order()

    def churn(self, read: int) -> None:
        """Let something happen under a reader who has read `read` rows of the list, by turns.

        A dossier further down is touched (only its updatedDate changes) and jumps to the front, over
        the reader; or one that was read vanishes, and everything below moves up by one.
        """
        self._turns += 1
        if read and self._turns % 2 == 0:
            self._gone.add(self.newest_first[min(read, len(self.newest_first)) // 2])
            self._order()
            return
        below = self.newest_first[read:]
        if below:
            touched = np.array([below[len(below) // 2]])
            self.updated[touched] = self.updated.max() + 1
            self._render(touched)

    def _status_numbers(self, rows: Integers, state: State) -> Integers:
        numbers = np.array([_STATUS_NUMBERS.get(code, -1) for code in range(11)])[state.status]
        drawn = self.population.whole("noise")[rows] // 5 % 20
        numbers = np.where((state.status == 4) & (drawn == 1), 17, numbers)
        return np.where((state.status == 4) & (drawn == 2), 18, numbers)

    def _submitted(self, rows: Integers, state: State) -> Integers:
        """The copy's submission date: sometimes the moment of the copy (sources 5.1), missing only after reception."""
        population = self.population
        submitted = population.whole("submitted")[rows]
        received = state.received < NEVER
        submitted = np.where(population.flag("onestop_guessed_submitted")[rows] & received, state.received, submitted)
        return np.where(population.flag("onestop_blank_submitted")[rows] & received, NEVER, submitted)

    def _items(self, positions: Integers, rows: Integers, state: State) -> list[bytes]:
        population = self.population
        noise = population.whole("noise")[rows]
        settled = settled_at(population, self.at, rows)
        submitted = self._submitted(rows, state)
        due = np.where(population.flag("onestop_blank_due")[rows], NEVER, state.due)
        utc = noise % 3 == 0
        texts = [_stamps(when, utc) for when in (submitted, state.received, due, state.completed, state.returned)]
        national = population.whole("identity")[rows] == NATIONAL
        nation_codes = np.where(national, population.columns["national"][rows], "")
        parts = zip(
            [self.ids[position] for position in positions.tolist()],
            population.columns["code"][rows].tolist(),
            nation_codes.tolist(),
            self.status[positions].tolist(),
            population.whole("procedure")[rows].tolist(),
            population.whole("service")[rows].tolist(),
            unit_at(population, self.at, rows)[0].tolist(),
            population.whole("channel")[rows].tolist(),
            *texts,
            _stamps(self.updated[positions], noise % 2 == 0),
            [self._payment(*part) for part in self._payment_parts(rows, noise, settled, utc)],
            population.whole("components")[rows].tolist(),
            population.whole("attached")[rows].tolist(),
            noise.tolist(),
            strict=True,
        )
        return [self._item(_Said(*part)).encode() for part in parts]

    def _payment_parts(
        self, rows: Integers, noise: Integers, settled: Flags, utc: Flags
    ) -> zip[tuple[int, int, int, str]]:
        paid = np.where(settled, self.population.whole("paid")[rows], NEVER)
        lines, method = self.population.whole("lines")[rows], self.population.whole("method")[rows]
        return zip(lines.tolist(), method.tolist(), noise.tolist(), _stamps(paid, utc), strict=True)

    @staticmethod
    def _payment(lines: int, method: int, noise: int, paid: str) -> str:
        if not lines:
            return '"paymentMethod":null,"paymentRequestData":null,"dossierFee":[],'
        # Before anything is paid a method may already be chosen, or not.
        if paid == "null" and noise % 3:
            return '"paymentMethod":null,"paymentRequestData":null,"dossierFee":[],'
        texts = ONESTOP_METHODS[METHODS[method]]
        return (
            f'"paymentMethod":{{"id":"pm{method}","name":"{texts[noise % len(texts)]}"}},'
            f'"paymentRequestData":{{"paidDate":{paid}}},"dossierFee":[],'
        )

    @cached_property
    def _procedures(self) -> list[tuple[str, str]]:
        """Two wordings of each procedure: name as an object, name as an array of languages."""
        texts = []
        for number, (code, name, sector) in enumerate(
            self.population.territory.procedures[["procedure_code", "name", "sector"]].itertuples(index=False)
        ):
            head = f'"procedure":{{"id":"60{number:022x}",'
            tail = f'"sector":{{"id":"61{number:022x}","code":"LV","name":"{escaped(sector)}"}}}},'
            vi, en = f'{{"languageId":228,"name":"{escaped(name)}"}}', '{"languageId":46,"name":""}'
            texts.append(
                (
                    f'{head}"code":"{code}","translate":{{"name":"{escaped(name)}"}},{tail}',
                    f'{head}"code":"{code}.000.00.00.H15","translate":[{vi},{en}],{tail}',
                )
            )
        return texts

    @cached_property
    def _agencies(self) -> list[str]:
        return [
            f'"agency":{{"id":"62{number:022x}","code":"{unit.onestop}",'
            f'"name":"{escaped(unit.messages)}","parent":{_PROVINCE_AGENCY}}},'
            f'"agencyLevel":{{"code":"{_LEVEL_CODES[unit.level]}"}},'
            for number, unit in enumerate(self.population.territory.units)
        ]

    def _item(self, said: _Said) -> str:
        person, officer = people()[said.noise % POOL], people()[said.noise // 7 % POOL]
        name = _STATUS_NAMES[said.status]
        status_text = str(said.status) if said.noise % 8 == 0 else f'{{"id":{said.status},"name":"{name}"}}'
        task = f'{{"id":"t{said.noise % 99}","assignee":{{"fullname":"{officer.name}"}}}}'
        tasks = (f"[{task}]", task, "null")[said.noise % 3]
        method, method_name, _ = ONESTOP_CHANNELS[said.channel]
        nation = f'"{said.nation_code}"' if said.nation_code else "null"
        return (
            f'{{"id":"{said.identity}","code":"{said.code}","nationCode":{nation},"dossierStatus":{status_text},'
            f'"dossierTaskStatus":{{"id":"ts","name":"{name}"}},'
            f'"applicant":{{"userId":"u{said.noise % POOL}","eformId":"e1",'
            f'"data":{{"fullname":"{person.name}","ownerFullname":"{person.name}",'
            f'"identityNumber":"{person.identity_number}","phoneNumber":"{person.phone}",'
            f'"email":"{person.email}","organization":"",'
            f'"address":"{person.address}","province":{{"label":"Đắk Lắk","value":"66"}}}}}},'
            f"{self._procedures[said.procedure][said.noise // 3 % 2]}"
            f'"procedureLevel":"{ONESTOP_SERVICE_LEVELS[said.service][0]}",{self._agencies[said.unit]}'
            f'"applyMethod":{{"id":{method},"name":"{method_name}"}},"appliedDate":{said.applied},'
            f'"acceptedDate":{said.accepted},'
            f'"appointmentDate":{said.appointment},"dueDate":{said.appointment},"completedDate":{said.completed},'
            f'"returnedDate":{said.returned},'
            f'"updatedDate":{said.updated},"processingTime":1,"processingTimeUnit":"d","task":[],'
            f'"currentTask":{tasks},{said.payment}'
            f'"dossierReceivingKind":{{"id":"r1",'
            f'"name":"Nhận trực tiếp"}},{_forms(said.components, said.attached, said.noise, person.slug)}'
            f'"eForm":{{"data":{{"hoTen":"{person.name}"}}}},"countDutypaidCert":0,"undefindedCompleteTime":0}}'
        )

    def fees(self, identity: str) -> list[str]:
        """Fee lines of a dossier; none for an unknown id."""
        position = self.position_by_id.get(identity)
        if position is None or self.updated[position] == -NEVER:
            return []
        row = self.rows[position : position + 1]
        settled = bool(settled_at(self.population, self.at, row)[0])
        lines = int(self.population.whole("lines")[row][0])
        amounts = [int(self.population.whole(f"amount{number}")[row][0]) for number in range(1, lines + 1)]
        return [
            f'{{"id":"{identity[:22]}{number:02x}","procost":{{"type":{{"type":{number},'
            f'"name":[{{"languageId":228,"name":"Lệ phí"}}]}},'
            f'"description":[]}},"amount":{amount:.1f},"quantity":1,'
            f'"paid":{float(amount if settled else 0):.1f},"required":1,'
            f'"dossier":{{"id":"{identity}"}}}}'
            for number, amount in enumerate(amounts, start=1)
        ]


def _forms(components: int, attached: int, noise: int, slug: str) -> str:
    forms = []
    for number in range(1, components + 1):
        files = f'[{{"id":"fi{number}","filename":"{slug}-{number}.pdf","size":20480,"uuid":"{noise:x}-{number}"}}]'
        forms.append(
            f'{{"id":"ff{number}","procedureForm":{{"id":"pf{number:02d}","name":"Giấy tờ {number}"}},'
            f'"requirement":{{"quantity":1}},'
            f'"detail":{{"type":1,"quantity":1}},"file":{files if number <= attached else "[]"},"authentication":null}}'
        )
    return f'"dossierFormFile":[{",".join(forms)}],'


def _stamps(when: Integers, utc: Flags) -> list[str]:
    """JSON dates at +0700, or +0000 where `utc`; null for `NEVER`."""
    local, universal = iso_texts(when), iso_texts(when, offset=0)
    return [
        "null" if not here else f'"{there}.000+0000"' if in_utc else f'"{here}.000+0700"'
        for here, there, in_utc in zip(local, universal, utc.tolist(), strict=True)
    ]
