"""The one-stop system's log of messages to the national portal: NDJSON files (sources chapter 3).

Belongs here: the records of DongBoHoSoMC and CapNhatTienDoHoSoMC, and the files they are dropped in,
in sending order. Does not belong here: reading them back.

A dossier is sent when something happened to it: once per file, as it stood at the end of the file's
span. History comes as one file per month, the last weeks as one per day; moving the clock only ever
adds files. A few dossiers are held back for a day or two, their progress is not: it comes in an
earlier file, or earlier in the same one.

What a sender does to the facts is its personality (see `traits.py`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sandbox.broken import BrokenRecord
from sandbox.calendar import Integers
from sandbox.codes import MESSAGE_STATUSES
from sandbox.people import POOL, people
from sandbox.population import (
    DATABASES,
    DIRECT,
    NATIONAL,
    NEVER,
    PLAIN,
    STARTS_AT,
    SUBSTITUTE,
    VIETNAM,
    Flags,
    Population,
    seconds,
)
from sandbox.traits import DEFAULT, PERSONALITIES, Personality, PersonalityName
from sandbox.truth import STEPS, State, settled_at, state_at, unit_at, visible_at
from sandbox.wire import escaped, packed_texts

_DOSSIERS_PER_CALL, _STEPS_PER_CALL = 25, 50
#: From here on there is a file for every day.
_DAILY_FROM = datetime(2026, 10, 1, tzinfo=VIETNAM)


class _Said(NamedTuple):
    """What one record says that depends on the instant, texts ready."""

    row: int
    noise: int
    status: int
    unit: int
    submitted: str
    received: str
    due: str
    denied: str
    completed: str
    returned: str
    paid: str
    has_result: bool
    supplements: str


class _SaidStep(NamedTuple):
    """What one progress record says, texts ready."""

    code: str
    noise: int
    status: int
    acted: str
    began: str
    due: str


def spans(after: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Cut (after, until] into the files' spans: months up to the last whole month, then days."""
    start = after
    while start < until:
        local = start.astimezone(VIETNAM)
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
        if start < _DAILY_FROM:
            end = (midnight.replace(day=1) + timedelta(days=32)).replace(day=1)
        else:
            end = midnight + timedelta(days=1)
        yield start, min(end, until)
        start = min(end, until)


@dataclass(frozen=True)
class MessageLog:
    """The message log of a population, written into `folder`."""

    population: Population
    folder: Path
    sender: PersonalityName = DEFAULT.personality
    #: Records beside the dossiers that no reader can accept.
    broken: tuple[BrokenRecord, ...] = ()

    @cached_property
    def _personality(self) -> Personality:
        return PERSONALITIES[self.sender]

    def write(self, after: datetime, until: datetime) -> list[Path]:
        """Write the files of (after, until]; each is written aside and renamed. Returns the new files."""
        self.folder.mkdir(parents=True, exist_ok=True)
        written = []
        for start, end in spans(after, until):
            lines = list(self.calls(start, end))
            if lines:
                written.append(self._drop(end, lines))
        return written

    def write_history(self, until: datetime) -> list[Path]:
        """Write everything up to `until` and remove what an earlier sandbox left in the folder."""
        for stale in self.folder.glob("*.ndjson"):
            stale.unlink()
        return self.write(STARTS_AT - timedelta(days=1), until)

    def _drop(self, end: datetime, lines: list[str]) -> Path:
        day = (end - timedelta(microseconds=1)).astimezone(VIETNAM).date().isoformat()
        number = len(list(self.folder.glob(f"{day}_*.ndjson"))) + 1
        target = self.folder / f"{day}_{number:04d}.ndjson"
        aside = target.with_suffix(".part")
        with aside.open("w", encoding="utf-8", newline="\n") as file:
            file.write("\n".join(lines))
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        aside.replace(target)
        return target

    def calls(self, after: datetime, until: datetime) -> Iterator[str]:
        """The calls of (after, until], one JSON text each: new dossiers, updates, progress."""
        start, end = seconds(after), seconds(until)
        logged = self.population.whole("logged")
        due = visible_at(self.population, end)[2] & ~self._skipped
        moved = np.zeros(len(self.population), dtype=np.bool_)
        moved[self.population.changed(start, end)] = True
        rows = np.flatnonzero(due & (moved | (logged > start)))
        new = logged[rows] > start
        # Some senders post a new dossier twice: as an insert, then as an update.
        again = new & (self.population.whole("noise")[rows] % 37 == 0)
        steps = self._due_steps(start, end)
        early = self.population.flag("held_back")[self._steps["row"][steps]]
        yield from self._step_calls(steps[early])
        yield from self._dossier_calls(rows[new], end, updating="False")
        yield from self._dossier_calls(rows[~new | again], end, updating="True")
        yield from self._step_calls(steps[~early])
        yield from self._broken_calls(start, end)

    @cached_property
    def _skipped(self) -> Flags:
        """Dossiers that the sender never sends, nor their progress."""
        noise, one_in = self.population.whole("noise"), self._personality.skips_one_in
        skipped: Flags = noise % one_in == 3 if one_in else np.zeros(len(noise), dtype=np.bool_)
        return skipped

    def _dossier_calls(self, rows: Integers, at: int, *, updating: str) -> Iterator[str]:
        for first in range(0, len(rows), 20_000):
            records = self.records(rows[first : first + 20_000], at)
            for begin in range(0, len(records), _DOSSIERS_PER_CALL):
                data = ",".join(records[begin : begin + _DOSSIERS_PER_CALL])
                yield f'{{"madonvi":"H15","service":"DongBoHoSoMC","isUpdating":"{updating}","data":[{data}]}}'

    def _broken_calls(self, after: int, until: int) -> Iterator[str]:
        """Each broken record once, as if it were a new dossier."""
        for broken in self.broken:
            if after < self.population.whole("logged")[broken.row] <= until:
                record = self.records(np.array([broken.row]), until)[0]
                data = broken.patched(record, {"MaHoSo": broken.code, "MaHoSoKhac": ""})
                yield f'{{"madonvi":"H15","service":"DongBoHoSoMC","isUpdating":"False","data":[{data}]}}'

    def broken_keys(self, at: int) -> list[tuple[BrokenRecord, str]]:
        """Each broken record that was sent up to `at`, and the key a reader gives it: its MaHoSo."""
        logged = self.population.whole("logged")
        return [(record, record.code) for record in self.broken if logged[record.row] <= at]

    def _due_steps(self, after: int, until: int) -> Integers:
        """Places in `_steps` of what is sent for (after, until]."""
        first, last = np.searchsorted(self._steps["when"], [after, until], side="right")
        due = np.arange(int(first), int(last))
        if self._personality.sends_latest_step_only:
            row = self._steps["row"][due]
            latest = np.zeros(len(self.population), dtype=np.int64)
            np.maximum.at(latest, row, due)
            due = due[latest[row] == due]
        return due

    def _step_calls(self, due: Integers) -> Iterator[str]:
        records = self._step_records(due)
        for begin in range(0, len(records), _STEPS_PER_CALL):
            data = ",".join(records[begin : begin + _STEPS_PER_CALL])
            yield f'{{"madonvi":"H15","service":"CapNhatTienDoHoSoMC","isUpdating":"False","data":[{data}]}}'

    @cached_property
    def codes(self) -> list[str]:
        """MaHoSo of every dossier: its code, the national code, or a substitute; for some in small letters."""
        population, one_in = self.population, self._personality.substitutes_one_in
        identity, noise = population.whole("identity").tolist(), population.whole("noise").tolist()
        names = zip(
            population.columns["code"],
            population.columns["national"],
            identity,
            noise,
            population.flag("onestop"),
            strict=True,
        )
        codes = []
        for code, national, kind, drawn, in_onestop in names:
            if kind == NATIONAL and drawn % 4 < 2:
                codes.append(national)
            elif kind == SUBSTITUTE or (kind == PLAIN and one_in and drawn % one_in == 1):
                codes.append(_substitute(code, drawn))
            else:
                codes.append(code.lower() if in_onestop and drawn % 223 == 5 else code)
        return codes

    @cached_property
    def _steps(self) -> dict[str, Integers]:
        """Every step that is ever told, by time: row, instant, national status after it."""
        population = self.population
        told = population.flag("has_steps") & ~self._skipped
        parts = []
        for name, status in STEPS:
            when = population.whole(name)
            rows = np.flatnonzero(told & (when < NEVER))
            after = np.full(len(rows), status) if status else population.whole("outcome")[rows]
            after = self._sent_status(after)
            # Nothing is told of a dossier before it has a code.
            parts.append((rows, np.maximum(when[rows], population.whole("registered")[rows]), after))
        rows, when, status_after = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        order = np.lexsort((rows, when))
        return {"row": rows[order], "when": when[order], "status": status_after[order]}

    def _sent_status(self, status: Integers) -> Integers:
        """National status as this sender words it."""
        if not self._personality.paused_looks_finished:
            return status
        return np.where(np.isin(status, (5, 6, 8)), 9, status)

    def _step_records(self, due_steps: Integers) -> list[str]:
        rows, when, statuses = (self._steps[name][due_steps] for name in ("row", "when", "status"))
        without_due = (self.population.whole("due0")[rows] == NEVER).tolist()
        noise = self.population.whole("noise")[rows]
        due = np.where(self.population.whole("due0")[rows] < NEVER, when + 86_400, NEVER)
        texts, began, ends = packed_texts(when), packed_texts(when - noise % 3600), packed_texts(due)
        records = []
        for row, drawn, status, acted, start, end, undated in zip(
            rows.tolist(), noise.tolist(), statuses.tolist(), texts, began, ends, without_due, strict=True
        ):
            said = _SaidStep(self.codes[row], drawn, status, acted, start, end)
            record = _step(said)
            records.append(record)
            if drawn % 97 == 0:
                records.append(record)  # the same step sent twice
            if self._personality.invents_finished_step and undated and status == 2:
                records.append(_step(said._replace(status=9)))
        return records

    def records(self, rows: Integers, at: int) -> list[str]:
        """DongBoHoSoMC records of `rows` as they stand at `at`; status and dates may have stopped earlier."""
        population = self.population
        state = state_at(population, np.minimum(at, population.whole("messages_until")[rows]), rows)
        noise = population.whole("noise")[rows]
        settled = settled_at(population, at, rows)
        online = settled & (population.whole("method")[rows] == 0)
        unpaid = np.where(noise % 6 == 0, "3", "0")
        paid_flag = np.where(online, np.where(population.whole("gateway")[rows] == 1, "1", "2"), unpaid)
        if self._personality.calls_any_payment_online:
            paid_flag = np.where(settled, "1", unpaid)
        parts = zip(
            rows.tolist(),
            noise.tolist(),
            self._sent_status(state.status).tolist(),
            unit_at(population, at, rows)[0].tolist(),
            packed_texts(self._submitted(rows, state)),
            packed_texts(state.received),
            packed_texts(np.where(population.flag("messages_blank_due")[rows], NEVER, state.due)),
            packed_texts(state.denied),
            packed_texts(state.completed),
            packed_texts(state.returned),
            paid_flag.tolist(),
            (population.whole("result")[rows] <= at).tolist(),
            self._supplements(rows, at),
            strict=True,
        )
        return [self._record(_Said(*part)) for part in parts]

    def _submitted(self, rows: Integers, state: State) -> Integers:
        """NgayNopHoSo; some senders put the reception there (where another source knows better)."""
        guessed = self.population.flag("messages_guessed_submitted")[rows] | self._personality.submits_on_reception
        return np.where(guessed & (state.received < NEVER), state.received, self.population.whole("submitted")[rows])

    def _supplements(self, rows: Integers, at: int) -> list[str]:
        population = self.population
        texts = ["null"] * len(rows)
        asked = np.flatnonzero(population.whole("asked1")[rows] <= at)
        for place in asked.tolist():
            row = rows[place : place + 1]
            items = [
                self._supplement(row, at, number)
                for number in (1, 2)
                if population.whole(f"asked{number}")[row][0] <= at
            ]
            texts[place] = f"[{','.join(items)}]"
        return texts

    def _supplement(self, row: Integers, at: int, number: int) -> str:
        population = self.population
        answered = population.whole(f"answered{number}")[row]
        answered = np.where(answered <= at, answered, NEVER)
        untold = number == 1 and bool(population.flag("untold_due")[row][0])
        before = np.where(untold, NEVER, population.whole(f"due{number - 1}")[row])
        after = np.where(answered < NEVER, population.whole(f"due{number}")[row], NEVER)
        asked, back, due, moved = (
            packed_texts(when)[0] for when in (population.whole(f"asked{number}")[row], answered, before, after)
        )
        officer = people()[int(population.whole("noise")[row][0]) // 7 % POOL]
        return (
            f'{{"HoSoBoSungId":"{number}","NguoiYeuCauBoSung":"{officer.name}",'
            f'"NoiDungBoSung":"Bổ sung giấy tờ","NgayBoSung":"{asked}",'
            f'"NguoiTiepNhanBoSung":"{officer.name if back else ""}","ThongTinTiepNhan":"",'
            f'"NgayTiepNhanBoSung":"{back}",'
            f'"TrangThaiBoSung":"{1 if back else 0}","DanhSachGiayToBoSung":[],"DanhSachLePhiBoSung":[],'
            f'"NgayHenTraTruoc":"{due}","NgayHenTraMoi":"{moved}"}}'
        )

    @cached_property
    def _procedures(self) -> list[str]:
        table = self.population.territory.procedures
        return [
            f'"MaTTHC":"{code}","TenTTHC":"{escaped(name)}","MaLinhVuc":"LV","TenLinhVuc":"{escaped(sector)}",'
            for code, name, sector in zip(table.procedure_code, table.name, table.sector, strict=True)
        ]

    @cached_property
    def _facts(self) -> dict[str, list[int]]:
        names = [
            "channel",
            "procedure",
            "components",
            "attached",
            "digitised",
            "reused",
            "reuse_code",
            "personal_store",
            "deleted_paper",
            "vneid",
            "databases",
            "lines",
            "amount1",
            "amount2",
            "identity",
        ]
        return {name: self.population.whole(name).tolist() for name in names}

    def _papers(self, row: int, noise: int, slug: str) -> str:
        facts = self._facts
        count, attached, digitised, reused = (
            facts[name][row] for name in ("components", "attached", "digitised", "reused")
        )
        sender = self._personality
        digitised = attached if sender.calls_uploads_digitised else digitised
        papers = [
            _paper(
                noise,
                number,
                slug,
                sender,
                has_file=number <= attached,
                digitised=number <= digitised,
                reuse=facts["reuse_code"][row]
                if number > count - reused
                else int(sender.calls_first_component_reused and number == 1),
                store=bool(facts["personal_store"][row]) and number == 1,
            )
            for number in range(1, count + 1)
        ]
        if facts["deleted_paper"][row]:
            papers.append(_paper(noise, 9, slug, sender, has_file=True, deleted=True))
        return ",".join(papers)

    def _results(self, said: _Said, slug: str) -> str:
        """DanhSachGiayToKetQua; a result may be announced by its code before there is a file."""
        if not said.has_result and said.noise % 13:
            return "null" if said.noise % 2 else "[]"
        link = f"/ket-qua/{slug}.pdf" if said.has_result else ""
        if not link and self._personality.sends_component_as_result and self._facts["attached"][said.row]:
            link = _file_path(said.noise, 1, slug)
        return (
            f'[{{"TenGiayTo":"Kết quả","MaThanhPhanHoSo":"","GiayToId":"1",'
            f'"DuongDanTepTinKetQua":"{link}","MaGiayToKetQua":"KQ01"}}]'
        )

    def _flags(self, said: _Said) -> str:
        """The record's flags of the newer contract; nothing from a sender that does not know it."""
        sender, facts = self._personality, self._facts
        if sender.omits_flags:
            return ""
        digitised = facts["attached" if sender.calls_uploads_digitised else "digitised"][said.row] > 0
        vneid = 0 if sender.denies_vneid else facts["vneid"][said.row]
        return (
            f'"NoiNopHoSo":"{1 if facts["identity"][said.row] == NATIONAL else 2}",'
            f'"HoSoCoThanhPhanSoHoa":"{int(digitised)}","TaiKhoanDuocXacThucVoiVNeID":"{vneid}",'
            f'"DuocThanhToanTrucTuyen":"{said.paid}",'
        )

    def _fees(self, row: int) -> str:
        facts = self._facts
        if self._personality.omits_fees:
            return ""
        amounts = (facts["amount1"][row], facts["amount2"][row])[: facts["lines"][row]]
        return ",".join(
            f'{{"TenPhiLePhi":"Lệ phí {number}","MaPhiLePhi":"PLP{number:02d}","HinhThucThu":"1",'
            f'"Gia":"{amount}","LoaiPhiLePhi":"1"}}'
            for number, amount in enumerate(amounts, start=1)
        )

    def _record(self, said: _Said) -> str:
        facts, code = self._facts, self.codes[said.row]
        person = people()[said.noise % POOL]
        own = self.population.columns["code"][said.row]
        other = own if code.upper() != own else ""
        channel = facts["channel"][said.row]
        kind = "" if channel == DIRECT and said.noise % 9 == 0 else str(channel + 1)
        fees = self._fees(said.row)
        return (
            f'{{"MaHoSo":"{code}",'
            f'"MaHoSoKhac":"{other}",{self._procedures[facts["procedure"][said.row]]}"KenhThucHien":"{kind}",'
            f'"SoBienNhan":"BN{said.noise % 9999}","ChuHoSo":"{person.name}","LoaiDoiTuong":"1",'
            f'"MaDoiTuong":"","SoGiayToChuHoSo":'
            f'"{person.identity_number}","DinhDanhCHS":[{{"LoaiDinhDanh":"1",'
            f'"SoDinhDanh":"{person.identity_number}"}}],'
            f'"ThongTinKhac":"","Email":"{person.email}","Fax":"{person.phone}","SoDienThoai":"{person.phone}",'
            f'"TrichYeuHoSo":"Hồ sơ của {person.name}","GhiChu":"","NgayNopHoSo":"{said.submitted}",'
            f'"NgayTiepNhan":"{said.received}",'
            f'"NgayHenTra":"{said.due}","NgayTuChoi":"{said.denied}",'
            f'"NgayKetThucXuLy":"{said.completed}","NgayTra":"{said.returned}",'
            f'"TrangThaiHoSo":"{said.status}","HinhThuc":"{said.noise % 5 // 4}","ThongTinTra":"{person.address}",'
            f'"DonViXuLy":"{self._unit_names[said.unit]}",'
            f"{self._flags(said)}"
            f'"DSKetNoiCSDL":{_ASKED[facts["databases"][said.row]]},'
            f'"TaiLieuNop":[{self._papers(said.row, said.noise, person.slug)}],'
            f'"DanhSachGiayToKetQua":{self._results(said, person.slug)},'
            f'"DanhSachLePhi":{f"[{fees}]" if fees else "null" if said.noise % 2 else "[]"},'
            f'"DanhSachTepDinhKemKhac":[],'
            f'"DanhSachHoSoBoSung":{said.supplements}}}'
        )

    @cached_property
    def _unit_names(self) -> list[str]:
        return [escaped(unit.messages) for unit in self.population.territory.units]


def _asked(codes: tuple[str, ...] | None) -> str:
    """DSKetNoiCSDL: the databases that were asked, null from who does not say."""
    return "null" if codes is None else "[" + ",".join(f'{{"MaCSDL":"{code}"}}' for code in codes) + "]"


_ASKED = [_asked(codes) for codes in DATABASES]


def _substitute(code: str, drawn: int) -> str:
    """A random code in place of the dossier's own; its day is kept."""
    return f"H15.99-{code.rsplit('-', 2)[1]}-{drawn % 1_000_000:06d}"


def _step(said: _SaidStep) -> str:
    return (
        f'{{"MaHoSo":"{said.code}","NguoiXuLy":"{people()[said.noise % POOL].name}","ChucDanh":"Chuyên viên",'
        f'"ThoiDiemXuLy":"{said.acted}","PhongBanXuLy":"Bộ phận Một cửa",'
        f'"NoiDungXuLy":"{MESSAGE_STATUSES[said.status - 1]}",'
        f'"TrangThai":"{said.status}","NgayBatDau":"{said.began}","NgayKetThucTheoQuyDinh":"{said.due}"}}'
    )


def _file_path(noise: int, number: int, slug: str) -> str:
    return f"/tai-lieu/{noise:x}/{slug}-{number}.pdf"


def _paper(
    noise: int,
    number: int,
    slug: str,
    sender: Personality,
    *,
    has_file: bool,
    digitised: bool = False,
    reuse: int = 0,
    store: bool = False,
    deleted: bool = False,
) -> str:
    name = f"{slug}-{number}.pdf" if has_file else ""
    path = _file_path(noise, number, slug) if has_file else ""
    code = "" if sender.blanks_component_codes else f"TP{number:02d}"
    flags = (
        f',"DuocSoHoa":"{int(digitised)}","DuocTaiSuDung":"{reuse}",'
        f'"DuocLayTuKhoDMQG":"{int(store)}","MaKetQuaThayThe":""'
    )
    return (
        f'{{"TepDinhKemId":"{number}","TenTepDinhKem":"{name}","IsDeleted":"{int(deleted)}",'
        f'"MaThanhPhanHoSo":"{code}","DuongDanTaiTepTin":"{path}"{"" if sender.omits_flags else flags}}}'
    )
