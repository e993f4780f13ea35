"""The provincial service portal's records, as OpenCPS REST v2 words them (sources chapter 1).

Belongs here: the JSON of a dossier, its files and its payment, and the columns that its search
index filters by. Does not belong here: HTTP (see `server.py`), nor what is true.

Beside the dossiers stand ghosts that default filters hide: deleted ones (negative originality),
children of inter-agency cases, and drafts that nobody ever acted on. Such a draft has a blank status and
is purged half an hour after it was begun (sources 1.6 and 5.2).
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from sandbox.broken import BrokenRecord
from sandbox.calendar import Integers
from sandbox.codes import PORTAL_METHODS, PORTAL_SERVICE_LEVELS, PORTAL_STATUSES
from sandbox.people import POOL, people
from sandbox.population import DIRECT, METHODS, NATIONAL, NEVER, ONLINE, POST, Flags, Population
from sandbox.truth import State, settled_at, state_at, unit_at
from sandbox.wire import day_first_texts, escaped, index_days

#: Kinds of ghosts: originality, originDossierId set, acted on. Deleted, inter-agency child, draft, copy of another
#: kind, group of dossiers.
_GHOSTS = ((-1, False, True), (2, True, True), (1, False, False), (4, True, True), (9, False, True))
_DRAFT = 2
_HIDDEN = np.array([0, 1, 3, 4])
#: One dossier in so many was deleted once or has a child; beside one in so many a draft was begun.
_GHOST_EVERY, _DRAFT_EVERY = 125, 20
#: A draft that nobody acts on lives so long.
DRAFT_SECONDS = 1800
#: What a draft does not say yet.
_DRAFT_BLANKS = dict.fromkeys(
    ("dossierNo", "submitDate", "receiveDate", "dueDate", "extendDate", "releaseDate", "finishDate", "cancellingDate",
     "dossierStatus", "lockState", "dueDateComing", "lastActionDate", "lastActionUser"), "",
)  # fmt: skip
FIRST_ID = 100_001
_STATUS_WORDS = {
    2: ("new", "collecting"),
    3: ("denied",),
    4: ("processing", "interoperating"),
    5: ("waiting", "correcting", "pausing"),
    6: ("paying",),
    7: ("cancelled", "cancelling"),
    8: ("unresolved",),
    9: ("releasing", "posting", "handover"),
    10: ("done",),
}
_STATUS_NOTES = {code: note for code, _, note in PORTAL_STATUSES}


class _Said(NamedTuple):
    """What one record says, texts ready."""

    position: int
    uid: str
    code: str
    site: int
    origin: int
    system: int
    originality: int
    procedure: tuple[str, str, str, str]
    service: int
    unit: int
    created: str
    modified: str
    submitted: str
    received: str
    due: str
    extended: str
    released: str
    finished: str
    cancelled: str
    status: str
    paused: int
    channel: int
    noise: int
    due_second: int


@dataclass
class PortalIndex:
    """The portal at an instant: rendered records and the columns its search filters by.

    Positions 0 … n-1 are the portal's dossiers in order of creation, then the ghosts, then the broken
    records. `update` moves it to a later instant and renders only what changed.
    """

    population: Population
    at: int
    #: Offset of the search index's own dates from UTC; Liferay's JVM commonly runs on GMT.
    index_offset: int = 0
    records: list[bytes] = field(default_factory=list)
    columns: dict[str, Integers] = field(default_factory=dict)
    agencies: list[str] = field(default_factory=list)
    statuses: list[str] = field(default_factory=list)
    #: Records beside the dossiers that no reader can accept.
    broken: tuple[BrokenRecord, ...] = ()

    def __post_init__(self) -> None:
        total = len(self.rows)
        self.records = [b""] * total
        self.agencies, self.statuses = [""] * total, [""] * total
        names = ["submit", "receive", "release", "finish", "due", "visible", "deleted"]
        self.columns = {name: np.zeros(total, dtype=np.int64) for name in names}
        self._render(np.arange(total))

    @cached_property
    def rows(self) -> Integers:
        """The population row behind each position."""
        dossiers = np.flatnonzero(self.population.flag("portal"))
        dossiers = dossiers[np.argsort(self.population.whole("submitted")[dossiers], kind="stable")]
        broken = np.array([record.row for record in self.broken], dtype=np.int64)
        return np.concatenate([dossiers, dossiers[::_GHOST_EVERY], dossiers[::_DRAFT_EVERY], broken])

    @cached_property
    def ghost(self) -> Integers:
        """Number of the ghost's kind at each position, -1 for a dossier or a broken record."""
        dossiers = np.arange(self._dossiers)
        hidden = _HIDDEN[np.arange(len(dossiers[::_GHOST_EVERY])) % len(_HIDDEN)]
        drafts = np.full(len(dossiers[::_DRAFT_EVERY]), _DRAFT)
        shown, broken = np.full(len(dossiers), -1), np.full(len(self.broken), -1)
        return np.concatenate([shown, hidden, drafts, broken]).astype(np.int64)

    @cached_property
    def site(self) -> Integers:
        """GroupId at each position: the site of first submission, whoever handles the dossier now."""
        sites = np.array([unit.site for unit in self.population.territory.units])
        return sites[self.population.whole("unit0")[self.rows]]

    @cached_property
    def positions_of_site(self) -> dict[int, Integers]:
        """Positions of each groupId in order of creation."""
        order = np.lexsort((np.arange(len(self.rows)), self.population.whole("submitted")[self.rows]))
        return {int(site): order[self.site[order] == site] for site in np.unique(self.site)}

    @cached_property
    def system(self) -> Integers:
        """systemId: 5 for what the national portal created, 1 or 2 for a few more, else 0."""
        noise = self.population.whole("noise")[self.rows]
        other = np.where(noise % 50 == 0, 1, np.where(noise % 50 == 1, 2, 0))
        return np.where(self.population.whole("identity")[self.rows] == NATIONAL, 5, other)

    @property
    def originality(self) -> Integers:
        """1 online, 3 one-stop; negative when deleted, 2 for a child of an inter-agency case."""
        return np.where(self.columns["deleted"] > 0, -self._originality, self._originality)

    @cached_property
    def _originality(self) -> Integers:
        own = np.where(self.population.whole("channel")[self.rows] == ONLINE, 1, 3)
        ghosts = np.array([kind[0] for kind in _GHOSTS])[self.ghost]
        return np.where(self.ghost < 0, own, ghosts)

    @cached_property
    def origin(self) -> Integers:
        """originDossierId: the parent's id of an inter-agency child, else 0."""
        child = (self.ghost >= 0) & np.array([kind[1] for kind in _GHOSTS])[self.ghost]
        position = np.zeros(len(self.population), dtype=np.int64)
        position[self.rows[: self._dossiers]] = np.arange(self._dossiers)
        return np.where(child, FIRST_ID + position[self.rows], 0)

    @cached_property
    def acted(self) -> Flags:
        """Whether anybody ever acted on the dossier; the default list hides the others."""
        acted: Flags = (self.ghost < 0) | np.array([kind[2] for kind in _GHOSTS])[self.ghost]
        return acted

    @cached_property
    def _dossiers(self) -> int:
        return int(self.population.flag("portal").sum())

    @property
    def _first_broken(self) -> int:
        return len(self.rows) - len(self.broken)

    def broken_keys(self) -> list[tuple[BrokenRecord, str]]:
        """Each broken record that is visible, and the key a reader gives it: `groupId:dossierId`."""
        places = enumerate(self.broken, start=self._first_broken)
        seen = [(place, record) for place, record in places if self.columns["visible"][place]]
        return [(record, f"{self.site[place]}:{FIRST_ID + place}") for place, record in seen]

    def as_it_stands(self) -> PortalIndex:
        """A copy that later updates do not change."""
        frozen = copy.copy(self)
        frozen.records, frozen.agencies, frozen.statuses = list(self.records), list(self.agencies), list(self.statuses)
        frozen.columns = {name: values.copy() for name, values in self.columns.items()}
        return frozen

    @cached_property
    def keys(self) -> dict[str, int]:
        """Position by dossierNo and by referenceUid, for the detail endpoint."""
        codes, uids = self._codes(np.arange(self._dossiers)), self._uids(np.arange(self._dossiers))
        return {key: number for number, pair in enumerate(zip(codes, uids, strict=True)) for key in pair}

    def update(self, at: int) -> None:
        """Move to a later instant."""
        changed = np.zeros(len(self.population), dtype=np.bool_)
        changed[self.population.changed(self.at, at)] = True
        for name in ("deleted", "erased"):
            when = self.population.whole(name)
            changed |= (when > self.at) & (when <= at)
        self.at = at
        # Nothing happens to a draft when it is purged.
        self._render(np.flatnonzero(changed[self.rows] | (self.ghost == _DRAFT)))

    def position(self, key: str) -> int | None:
        """Position of a dossier by id, else by code or referenceUid; None when unknown or not there yet."""
        found = int(key) - FIRST_ID if key.isdigit() else self.keys.get(key)
        if found is None or not 0 <= found < len(self.rows) or not self.columns["visible"][found]:
            return None
        return found

    def _codes(self, positions: Integers) -> list[str]:
        """dossierNo: the code, for some the national portal's own, for some with stray spaces."""
        rows = self.rows[positions]
        noise = self.population.whole("noise")[rows]
        national = (self.population.whole("identity")[rows] == NATIONAL) & (noise % 2 == 0)
        codes = np.where(national, self.population.columns["national"][rows], self.population.columns["code"][rows])
        stray = self.population.flag("onestop")[rows] & (noise % 211 == 7)
        return [f" {code} " if spaced else code for code, spaced in zip(codes, stray, strict=True)]

    def _uids(self, positions: Integers) -> list[str]:
        rows = self.rows[positions]
        national = self.population.whole("identity")[rows] == NATIONAL
        names, high, low = (self.population.columns[name][rows] for name in ("national", "uid_high", "uid_low"))
        return [
            name if known else f"{a >> 30:08x}-{a >> 14 & 65535:04x}-4{a & 4095:03x}-8{b & 4095:03x}-{b >> 14:012x}"
            for name, known, a, b in zip(names, national.tolist(), high.tolist(), low.tolist(), strict=True)
        ]

    def _visible(self, positions: Integers) -> Flags:
        rows = self.rows[positions]
        submitted, erased = (self.population.whole(name)[rows] for name in ("submitted", "erased"))
        visible = (submitted <= self.at) & ((erased > self.at) | (self.ghost[positions] >= 0))
        purged = self.population.whole("submitted")[self.rows[positions]] + DRAFT_SECONDS <= self.at
        shown: Flags = visible & ~((self.ghost[positions] == _DRAFT) & purged)
        return shown

    def _render(self, positions: Integers) -> None:
        visible = self._visible(positions)
        self.columns["visible"][positions] = visible
        deleted = (self.population.whole("deleted")[self.rows[positions]] <= self.at) & (positions < self._dossiers)
        self.columns["deleted"][positions] = deleted
        positions = positions[visible]
        rows = self.rows[positions]
        until = np.minimum(self.at, self.population.whole("portal_until")[rows])
        state = state_at(self.population, until, rows)
        self._index(positions, rows, state)
        for position, record in zip(positions.tolist(), self._records(positions, rows, state), strict=True):
            self.records[position] = record
            if self.ghost[position] == _DRAFT:
                self._undo_submission(position)
            elif position >= self._first_broken:
                self._break(position)

    def _undo_submission(self, position: int) -> None:
        """A draft says when it was begun and what for, no more."""
        begun = json.loads(self.records[position])
        self._replace(position, json.dumps(begun | _DRAFT_BLANKS | self._own_uid(position), ensure_ascii=False))
        for name in ("submit", "receive", "release", "finish", "due"):
            self.columns[name][position] = 0

    def _break(self, position: int) -> None:
        broken = self.broken[position - self._first_broken]
        identifiers = self._own_uid(position) | {"dossierNo": broken.code}
        self._replace(position, broken.patched(self.records[position], identifiers))

    @staticmethod
    def _own_uid(position: int) -> dict[str, str]:
        return {"referenceUid": f"{position:08x}-0000-4000-8000-000000000000"}

    def _replace(self, position: int, record: str) -> None:
        self.records[position] = record.encode()
        self.statuses[position] = json.loads(record)["dossierStatus"]

    def _index(self, positions: Integers, rows: Integers, state: State) -> None:
        due = np.where(self.population.flag("portal_blank_due")[rows], NEVER, state.due)
        instants = {
            "submit": self.population.whole("submitted")[rows],
            "receive": state.received,
            "release": state.completed,
            "finish": state.returned,
            "due": due,
        }
        for name, when in instants.items():
            self.columns[name][positions] = index_days(when, offset=self.index_offset)

    def _records(self, positions: Integers, rows: Integers, state: State) -> list[bytes]:
        population = self.population
        unit = unit_at(population, self.at, rows)[0]
        units, statics = population.territory.units, self._procedure_texts
        registered = population.whole("registered")[rows] <= self.at
        statuses = self._status_words(rows, state)
        due = np.where(population.flag("portal_blank_due")[rows], NEVER, state.due)
        submitted = population.whole("submitted")[rows]
        modified = population.last_event(self.at)[rows]
        channel = population.whole("channel")[rows]
        noise = population.whole("noise")[rows]
        parts = zip(
            positions.tolist(),
            self._uids(positions),
            [code if known else "" for code, known in zip(self._codes(positions), registered.tolist(), strict=True)],
            self.site[positions].tolist(),
            self.origin[positions].tolist(),
            self.system[positions].tolist(),
            self.originality[positions].tolist(),
            [statics[number] for number in population.whole("procedure")[rows].tolist()],
            population.whole("service")[rows].tolist(),
            unit.tolist(),
            day_first_texts(submitted - noise % 900),
            day_first_texts(modified),
            day_first_texts(submitted),
            day_first_texts(state.received),
            day_first_texts(due),
            day_first_texts(
                np.where((state.due < NEVER) & (population.whole("due0")[rows] != state.due), state.due, NEVER)
            ),
            day_first_texts(state.completed),
            day_first_texts(state.returned),
            day_first_texts(np.where(state.status == 7, state.completed, NEVER)),
            statuses,
            np.where(state.status == 5, 1, 0).tolist(),
            channel.tolist(),
            noise.tolist(),
            state.due.tolist(),
            strict=True,
        )
        records = []
        for part in parts:
            said = _Said(*part)
            handler = units[said.unit]
            self.agencies[said.position], self.statuses[said.position] = handler.portal, said.status
            records.append(_record(said, handler.portal, escaped(handler.name)).encode())
        return records

    def _status_words(self, rows: Integers, state: State) -> list[str]:
        draft = self.population.flag("draft")[rows].tolist()
        noise = (self.population.whole("noise")[rows] // 7).tolist()
        words = []
        for status, is_draft, drawn in zip(state.status.tolist(), draft, noise, strict=True):
            if status == 1:
                words.append("" if is_draft and drawn % 2 else "receiving")
            else:
                choice = _STATUS_WORDS[status]
                # Mostly the ordinary word.
                words.append(choice[drawn % len(choice)] if drawn % 9 == 0 else choice[0])
        return words

    @cached_property
    def _procedure_texts(self) -> list[tuple[str, str, str, str]]:
        """Code with and without the local suffix, name and sector of each procedure."""
        table = self.population.territory.procedures
        return [
            (code, f"{code}.000.00.00.H15", escaped(name), escaped(sector))
            for code, name, sector in zip(table.procedure_code, table.name, table.sector, strict=True)
        ]

    def files(self, position: int) -> bytes:
        """`/dossiers/{id}/files`: component papers (type 1), results (type 2), other (type 3)."""
        row = int(self.rows[position])
        population, noise = self.population, int(self.population.whole("noise")[self.rows[position]])
        slug = people()[noise % POOL].slug
        items = [
            _file(position, number, kind=1, name=f"to-khai-{slug}", size=0 if form else 20_480 + number, form=form)
            for number, form in ((number, (noise + number) % 23 == 0) for number in range(1, self._attached(row) + 1))
        ]
        if population.flag("deleted_paper")[row]:
            items.append(_file(position, 8, kind=1, name=f"nham-{slug}", size=1024, removed=True))
        if noise % 17 == 0:
            items.append(_file(position, 9, kind=3, name=f"giay-khac-{slug}", size=2048))
        if population.whole("result")[row] <= self.at:
            items.append(_file(position, 10, kind=2, name=f"ket-qua-{slug}", size=51_200, signed=noise % 4 > 0))
        return f'{{"total":{len(items)},"data":[{",".join(items)}]}}'.encode()

    def _attached(self, row: int) -> int:
        return int(self.population.whole("attached")[row])

    def payment(self, position: int) -> bytes:
        """`/dossiers/{id}/payment`: at most one payment for all fee lines, `{}` when nothing is asked."""
        row = self.rows[position : position + 1]
        population = self.population
        if population.whole("lines")[row][0] == 0:
            return b"{}"
        noise = int(population.whole("noise")[row][0])
        settled = bool(settled_at(population, self.at, row)[0])
        waived = bool(population.flag("waived")[row][0])
        amount = int(population.whole("amount1")[row][0] + population.whole("amount2")[row][0])
        texts = PORTAL_METHODS[METHODS[int(population.whole("method")[row][0])]]
        status = (5 if noise % 5 else 3) if settled else (5 if waived and noise % 2 else 1 if amount else 0)
        if population.whole("refunded")[row][0] <= self.at:
            status = 0
        confirmed = day_first_texts(population.whole("paid")[row])[0] if settled else ""
        method = texts[noise % len(texts)] if settled else ""
        return (
            f'{{"paymentFileId":{FIRST_ID + position},"referenceUid":"p-{noise:x}",'
            f'"paymentFee":"Phí, lệ phí","advanceAmount":0,'
            f'"feeAmount":{amount},"serviceAmount":0,"shipAmount":0,"paymentAmount":{amount if settled else 0},'
            f'"paymentStatus":{status},"paymentMethod":"{method}","confirmDatetime":"{confirmed}","confirmPayload":"",'
            f'"confirmNote":"{escaped(people()[noise % POOL].name)}","approveDatetime":"",'
            f'"invoiceNo":"","einvoice":"","epaymentProfile":""}}'
        ).encode()


def _file(
    position: int,
    number: int,
    *,
    kind: int,
    name: str,
    size: int,
    removed: bool = False,
    form: bool = False,
    signed: bool = False,
) -> str:
    part = f"TP{number:02d}" if kind == 1 else f"KQ{number:02d}"
    return (
        f'{{"dossierFileId":{(FIRST_ID + position) * 16 + number},'
        f'"referenceUid":"f-{position}-{number}","dossierTemplateNo":"MAU",'
        f'"dossierPartNo":"{part}","dossierPartType":{kind},"dossierPartName":"Giấy tờ {number}",'
        f'"fileTemplateNo":"{part}",'
        f'"displayName":"{name}.pdf","fileType":"pdf","fileSize":{size},"fileVersion":"1.0","isNew":false,'
        f'"signCheck":{int(signed)},"signInfo":"","removed":{str(removed).lower()},'
        f'"eForm":{str(form).lower()},"formData":""}}'
    )


def _record(said: _Said, agency: str, agency_name: str) -> str:
    """One item of `/dossiers`; almost everything is text, also what looks like a number or a truth value."""
    person, officer = people()[said.noise % POOL], people()[said.noise // 7 % POOL]
    online = "true" if said.channel == ONLINE else "false"
    by_post = 1 if said.channel == POST else 0
    via_postal = 2 if said.noise % 11 == 0 else 1 if said.channel != DIRECT else 0
    return (
        f'{{"dossierId":{FIRST_ID + said.position},"referenceUid":"{said.uid}","dossierNo":"{said.code}",'
        f'"dossierIdCTN":"","groupId":{said.site},'
        f'"counter":0,"dossierCounter":"","originDossierId":{said.origin},"originDossierNo":"",'
        f'"groupDossierId":"0","serverNo":"SERVER_DVC",'
        f'"systemId":{said.system},"originality":"{said.originality}",'
        f'"serviceCode":"{said.procedure[1] if said.noise % 3 == 0 else said.procedure[0]}",'
        f'"serviceName":"{said.procedure[2]}","domainCode":"LV",'
        f'"domainName":"{said.procedure[3]}","serviceLevel":{PORTAL_SERVICE_LEVELS[said.service][0]},'
        f'"dossierTemplateNo":"MAU",'
        f'"govAgencyCode":"{agency}","govAgencyName":"{agency_name}",'
        f'"applicantName":"{person.name.upper()}","applicantIdType":"citizen",'
        f'"applicantIdNo":"{person.identity_number}",'
        f'"applicantIdDate":"01/01/2020","address":"{person.address}","cityCode":"66",'
        f'"cityName":"Đắk Lắk","districtCode":"",'
        f'"districtName":"","wardCode":"","wardName":"","contactName":"{person.name}","contactTelNo":"{person.phone}",'
        f'"contactEmail":"{person.email}","delegateName":"{person.name}","delegateIdNo":"{person.identity_number}",'
        f'"delegateTelNo":"{person.phone}","delegateEmail":"{person.email}",'
        f'"delegateAddress":"{person.address}","delegateType":"0",'
        f'"createDate":"{said.created}","modifiedDate":"{said.modified}",'
        f'"submitDate":"{said.submitted}","receiveDate":"{said.received}",'
        f'"dueDate":"{said.due}","extendDate":"{said.extended}","releaseDate":"{said.released}",'
        f'"finishDate":"{said.finished}",'
        f'"cancellingDate":"{said.cancelled}","correctingDate":"","endorsementDate":"",'
        f'"lastActionDate":"{said.modified}","stepDuedate":"",'
        f'"documentDate":"","certDate":"","dueDateComing":"{said.due_second * 1000 if said.due else ""}",'
        f'"dossierStatus":"{said.status}","dossierStatusText":"{_STATUS_NOTES[said.status]}",'
        f'"dossierSubStatus":"","dossierSubStatusText":"",'
        f'"lockState":"{"PAUSE" if said.paused else ""}","dossierOverdue":"",'
        f'"timeOverdueText":"Tính lúc hỏi","lastActionName":"",'
        f'"lastActionUser":"{officer.name}","currentActionUser":"{officer.name}","stepCode":"","stepName":"",'
        f'"submitting":"false","online":"{online}","viaPostal":"{via_postal}",'
        f'"fromViaPostal":"{by_post}","vnpostalStatus":0,'
        f'"postalAddress":"{person.address}","durationCount":0.0,"durationUnit":0,"sampleCount":1,"metaData":"",'
        f'"assigned":"0","permission":"","visited":"false","pending":"false"}}'
    )
