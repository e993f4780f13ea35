"""The practice province as two vendors keep it in their databases (sources 4.2, and OpenCPS' service model).

Belongs here: the tables of a TD-like and of an OpenCPS system, as far as somebody would read them, and
filling them from the population as it stands at an instant. Does not belong here: what is true, nor
reading the tables back.

Instants are local times without a zone, but TD's audit columns, which are UTC. A payment that changes
leaves its dossier's LastModifiedOn as it was: that is how such systems are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

import numpy as np
import sqlalchemy as sa
from sqlalchemy.dialects.mysql import DATETIME

from sandbox.calendar import VIETNAM_SECONDS, Integers
from sandbox.codes import PORTAL_METHODS
from sandbox.people import POOL, people
from sandbox.population import EVENTS, METHODS, NATIONAL, NEVER, ONLINE, POST, Flags, Population, seconds
from sandbox.truth import settled_at, state_at, unit_at, visible_at

Row = dict[str, Any]
_SPACE = UUID("6f1d3c52-6c3c-4a5e-9a51-0d8a4c1f7a10")
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  columns without a zone
_ROWS = 2000
FIRST_ID = 100_001
#: One dossier in so many was deleted once, and one in so many has a copy for another agency.
_DELETED_EVERY, _CHILD_EVERY = 50, 40
_PAYMENT_EVENTS = frozenset({"paid", "refunded"})
_TD_METHODS = ("truc-tuyen", "tien-mat", "chuyen-khoan")
_TD_LEVELS = ("4", "3", "2")
_OPENCPS_WORDS = {
    1: "receiving",
    2: "new",
    3: "denied",
    4: "processing",
    5: "waiting",
    6: "paying",
    7: "cancelled",
    8: "unresolved",
    9: "releasing",
    10: "done",
}

TD = sa.MetaData()
_STAMP = sa.DateTime().with_variant(DATETIME(fsp=6), "mysql", "mariadb")


def _texts(*names: str, size: int = 200) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.String(size)) for name in names]


def _stamps(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, _STAMP) for name in names]


TD_HOSOS = sa.Table(
    "HoSos",
    TD,
    sa.Column("Id", sa.Uuid, primary_key=True),
    *_texts("MaHoSo", "MaHoSoKhac", "DonViId", "MaTTHC", size=50),
    *_texts("KenhThucHien", "TrangThaiHoSoId", "MucDo", size=5),
    *_texts("DuocThanhToanTrucTuyen", "TaiKhoanDuocXacThucVoiVNeID", "HoSoCoThanhPhanSoHo", size=2),
    *_texts("ChuHoSo", "SoGiayToChuHoSo", "SoDienThoaiChuHoSo", "EmailChuHoSo", "DiaChiChuHoSo", "TrichYeuHoSo"),
    sa.Column("DinhKemKetQua", sa.Text),
    *_texts("ViTriDeHoSo"),
    *_stamps("NgayNopHoSo", "NgayTiepNhan", "NgayHenTra", "NgayKetThucXuLy", "NgayTra", "NgayTuChoi"),
    *_stamps("CreatedOn", "LastModifiedOn", "DeletedOn"),
    sa.Index("IX_HoSos_Modified", "LastModifiedOn", "Id"),
    schema="Business",
)
TD_COMPONENTS = sa.Table(
    "ThanhPhanHoSos",
    TD,
    sa.Column("Id", sa.Uuid, primary_key=True),
    sa.Column("HoSo", sa.String(50), index=True),
    *_texts("MaGiayTo", "Ten", "TrangThaiSoHoa", "MaKetQuaThayThe"),
    sa.Column("DuocLayTuKhoDMQuocGia", sa.Boolean),
    sa.Column("DinhKem", sa.Text),
    *_stamps("CreatedOn", "LastModifiedOn", "DeletedOn"),
    schema="Business",
)
TD_PAYMENTS = sa.Table(
    "YeuCauThanhToans",
    TD,
    sa.Column("Id", sa.Uuid, primary_key=True),
    sa.Column("MaHoSo", sa.String(50), index=True),
    sa.Column("SoTien", sa.Integer),
    *_texts("TrangThai", "HinhThucThanhToan", "HinhThucThu", "NguoiNopTienBienLai"),
    *_stamps("NgayThuPhi", "CreatedOn", "LastModifiedOn", "DeletedOn"),
    schema="Business",
)
TD_GROUPS = sa.Table(
    "Groups",
    TD,
    sa.Column("Id", sa.Uuid, primary_key=True),
    sa.Column("GroupCode", sa.String(50), index=True),
    *_texts("GroupName", "MaDinhDanh"),
    schema="Catalog",
)

OPENCPS = sa.MetaData()
OPENCPS_DOSSIER = sa.Table(
    "opencps_dossier",
    OPENCPS,
    sa.Column("dossierId", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("groupId", sa.BigInteger),
    *_stamps("createDate", "modifiedDate"),
    *_texts("referenceUid", "serviceCode", "govAgencyCode", "govAgencyName"),
    *_texts("applicantName", "applicantIdNo", "contactTelNo", "contactEmail", "address"),
    *_texts("dossierNo", "dossierStatus", "dossierSubStatus", "lockState"),
    *_stamps("submitDate", "receiveDate", "dueDate", "extendDate", "releaseDate", "finishDate"),
    sa.Column("dossierActionId", sa.BigInteger),
    sa.Column("online", sa.Boolean),
    sa.Column("viaPostal", sa.Integer),
    sa.Column("fromViaPostal", sa.Integer),
    sa.Column("originality", sa.Integer),
    sa.Column("originDossierId", sa.BigInteger),
    sa.Column("systemId", sa.Integer),
    sa.Index("IX_dossier_modified", "modifiedDate"),
)
OPENCPS_FILE = sa.Table(
    "opencps_dossierfile",
    OPENCPS,
    sa.Column("dossierFileId", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("dossierId", sa.BigInteger, index=True),
    *_stamps("createDate", "modifiedDate"),
    *_texts("dossierPartNo", "displayName"),
    sa.Column("dossierPartType", sa.Integer),
    sa.Column("fileEntryId", sa.BigInteger),
    sa.Column("eForm", sa.Boolean),
    sa.Column("removed", sa.Boolean),
    sa.Column("formData", sa.Text),
)
OPENCPS_PAYMENT = sa.Table(
    "opencps_paymentfile",
    OPENCPS,
    sa.Column("paymentFileId", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("dossierId", sa.BigInteger, index=True),
    *_stamps("createDate", "modifiedDate"),
    sa.Column("feeAmount", sa.BigInteger),
    sa.Column("paymentAmount", sa.BigInteger),
    sa.Column("paymentStatus", sa.Integer),
    *_texts("paymentMethod", "accountUserName"),
    *_stamps("confirmDatetime"),
)


def fill_td(connection: sa.Connection, population: Population, at: datetime, *, rows: Integers | None = None) -> None:
    """Insert the one-stop's dossiers (or `rows` of the population) as they stand at an instant, with their units."""
    units = [
        {"Id": uuid5(_SPACE, unit.code), "GroupCode": unit.code, "GroupName": unit.name, "MaDinhDanh": unit.onestop}
        for unit in population.territory.units
    ]
    if rows is None:
        connection.execute(TD_GROUPS.insert(), units)
    _put(connection, td_rows(population, at, rows=rows))


def fill_opencps(
    connection: sa.Connection, population: Population, at: datetime, *, rows: Integers | None = None
) -> None:
    """Insert the portal's dossiers (or `rows` of the population) as they stand at an instant, deleted ones and copies
    besides.
    """
    _put(connection, opencps_rows(population, at, rows=rows))


def _put(connection: sa.Connection, said: Iterable[tuple[sa.Table, Row]]) -> None:
    waiting: dict[sa.Table, list[Row]] = {}
    for table, row in said:
        kept = waiting.setdefault(table, [])
        kept.append(row)
        if len(kept) == _ROWS:
            connection.execute(table.insert(), kept)
            kept.clear()
    for table, kept in waiting.items():
        if kept:
            connection.execute(table.insert(), kept)


def standing(population: Population, at: datetime, place: int) -> Integers:
    """Rows of the population that stand in the portal (0) or in the one-stop (1) at an instant."""
    return np.flatnonzero(visible_at(population, seconds(at))[place])


def _modified(population: Population, at: int, rows: Integers, *, payments: bool) -> Integers:
    """The last event of the payments, or of everything else; submission where there was none."""
    latest = population.whole("submitted")[rows].copy()
    for name in EVENTS:
        if (name in _PAYMENT_EVENTS) == payments:
            when = population.whole(name)[rows]
            np.maximum(latest, np.where(when <= at, when, 0), out=latest)
    return latest


def _local(values: Integers, *, offset: int = VIETNAM_SECONDS) -> list[datetime | None]:
    return [None if value >= NEVER else _EPOCH + timedelta(seconds=value + offset) for value in values.tolist()]


class _Facts:
    """Columns of some dossiers at an instant, as lists in step with `rows`."""

    def __init__(self, population: Population, at: datetime, rows: Integers) -> None:
        self.population, self.at, self.rows = population, seconds(at), rows
        state = state_at(population, self.at, rows)
        self.status = state.status.tolist()
        self.dates = {
            name: _local(getattr(state, name)) for name in ("received", "due", "completed", "returned", "denied")
        } | {"submitted": _local(population.whole("submitted")[rows])}
        self.paid = _local(np.where(settled_at(population, self.at, rows), population.whole("paid")[rows], NEVER))
        self.settled = settled_at(population, self.at, rows).tolist()
        self.refunded = (population.whole("refunded")[rows] <= self.at).tolist()
        self.result = (population.whole("result")[rows] <= self.at).tolist()
        self.units = unit_at(population, self.at, rows)[0].tolist()
        self.registered: Flags = population.whole("registered")[rows] <= self.at

    def column(self, name: str) -> list[Any]:
        """A column of the population."""
        values: list[Any] = self.population.columns[name][self.rows].tolist()
        return values

    def modified(self, *, payments: bool = False, offset: int = VIETNAM_SECONDS) -> list[Any]:
        """When the dossier, or its payments, changed last."""
        return _local(_modified(self.population, self.at, self.rows, payments=payments), offset=offset)


def td_rows(population: Population, at: datetime, *, rows: Integers | None = None) -> Iterator[tuple[sa.Table, Row]]:
    """Rows of every TD table but the units."""
    rows = standing(population, at, 1) if rows is None else rows
    facts = _Facts(population, at, rows)
    said = {name: facts.column(name) for name in ("code", "channel", "service", "procedure", "noise", "components")}
    codes = population.territory.procedures.procedure_code.to_list()
    changed, paid_on = facts.modified(offset=0), facts.modified(payments=True, offset=0)
    created = _local(population.whole("submitted")[rows], offset=0)
    numbers = zip(rows.tolist(), *said.values(), strict=True)
    for place, (row, code, channel, service, procedure, noise, components) in enumerate(numbers):
        person = people()[noise % POOL]
        paths = f"/ket-qua/{person.slug}.pdf##" if facts.result[place] else ("##" if noise % 3 else None)
        yield (
            TD_HOSOS,
            {
                "Id": uuid5(_SPACE, f"{row}"),
                "MaHoSo": code,
                "MaHoSoKhac": None,
                "DonViId": population.territory.units[facts.units[place]].code,
                "MaTTHC": codes[procedure],
                "KenhThucHien": str(channel + 1),
                "TrangThaiHoSoId": str(facts.status[place]),
                "MucDo": _TD_LEVELS[service],
                "DuocThanhToanTrucTuyen": "0",
                "TaiKhoanDuocXacThucVoiVNeID": "0",
                "HoSoCoThanhPhanSoHo": "1",
                "ChuHoSo": person.name,
                "SoGiayToChuHoSo": person.identity_number,
                "SoDienThoaiChuHoSo": person.phone,
                "EmailChuHoSo": person.email,
                "DiaChiChuHoSo": person.address,
                "TrichYeuHoSo": f"Hồ sơ của {person.name}",
                "DinhKemKetQua": paths,
                "ViTriDeHoSo": None,
                "NgayNopHoSo": facts.dates["submitted"][place],
                "NgayTiepNhan": facts.dates["received"][place],
                "NgayHenTra": facts.dates["due"][place],
                "NgayKetThucXuLy": facts.dates["completed"][place],
                "NgayTra": facts.dates["returned"][place],
                "NgayTuChoi": facts.dates["denied"][place],
                "CreatedOn": created[place],
                "LastModifiedOn": changed[place],
                "DeletedOn": None,
            },
        )
        yield from _td_components(population, row, code, components, created=created[place], slug=person.slug)
        yield from _td_payments(population, facts, place, code, paid_on[place])


def _td_components(
    population: Population, row: int, code: str, count: int, *, created: datetime | None, slug: str
) -> Iterator[tuple[sa.Table, Row]]:
    attached, digitised, reused, reuse = (
        int(population.whole(name)[row]) for name in ("attached", "digitised", "reused", "reuse_code")
    )
    for number in range(1, count + 1):
        state = str(1 + reuse) if number > count - reused else "1" if number <= digitised else "0"
        yield (
            TD_COMPONENTS,
            {
                "Id": uuid5(_SPACE, f"{row}-{number}"),
                "HoSo": code,
                "MaGiayTo": f"TP{number:02d}",
                "Ten": "Giấy tờ",
                "TrangThaiSoHoa": state,
                "MaKetQuaThayThe": None,
                "DuocLayTuKhoDMQuocGia": bool(population.flag("personal_store")[row]) and number == 1,
                "DinhKem": f"/tai-lieu/{slug}-{number}.pdf##" if number <= attached else "",
                "CreatedOn": created,
                "LastModifiedOn": created,
                "DeletedOn": None,
            },
        )
    if population.flag("deleted_paper")[row]:
        yield (
            TD_COMPONENTS,
            {
                "Id": uuid5(_SPACE, f"{row}-9"),
                "HoSo": code,
                "MaGiayTo": "TP09",
                "Ten": "Nộp nhầm",
                "TrangThaiSoHoa": "1",
                "MaKetQuaThayThe": None,
                "DuocLayTuKhoDMQuocGia": False,
                "DinhKem": f"/tai-lieu/{slug}-nham.pdf",
                "CreatedOn": created,
                "LastModifiedOn": created,
                "DeletedOn": created,
            },
        )


def _td_payments(
    population: Population, facts: _Facts, place: int, code: str, changed: datetime | None
) -> Iterator[tuple[sa.Table, Row]]:
    row = int(facts.rows[place])
    settled, refunded = facts.settled[place], facts.refunded[place]
    waived = bool(population.flag("waived")[row])
    for number in range(1, int(population.whole("lines")[row]) + 1):
        state = "Đã thanh toán" if settled else "Đã hoàn phí" if refunded else "Chờ thanh toán"
        yield (
            TD_PAYMENTS,
            {
                "Id": uuid5(_SPACE, f"{row}-p{number}"),
                "MaHoSo": code,
                "SoTien": int(population.whole(f"amount{number}")[row]),
                "TrangThai": state,
                "HinhThucThanhToan": _TD_METHODS[int(population.whole("method")[row])] if settled or refunded else None,
                "HinhThucThu": "Đối tượng miễn phí" if waived else "Thu phí",
                "NguoiNopTienBienLai": people()[row % POOL].name,
                "NgayThuPhi": facts.paid[place],
                "CreatedOn": changed,
                "LastModifiedOn": changed,
                "DeletedOn": None,
            },
        )


def opencps_rows(
    population: Population, at: datetime, *, rows: Integers | None = None
) -> Iterator[tuple[sa.Table, Row]]:
    """Rows of every OpenCPS table: the portal's dossiers, deleted ones, copies for other agencies."""
    rows = standing(population, at, 0) if rows is None else rows
    facts = _Facts(population, at, rows)
    codes = population.territory.procedures.procedure_code.to_list()
    said = {name: facts.column(name) for name in ("code", "channel", "procedure", "noise", "identity", "national")}
    changed, paid_on = facts.modified(), facts.modified(payments=True)
    numbers = zip(rows.tolist(), *said.values(), strict=True)
    for place, (row, code, channel, procedure, noise, identity, national) in enumerate(numbers):
        person, unit = people()[noise % POOL], population.territory.units[facts.units[place]]
        dossier: Row = {
            "dossierId": FIRST_ID + row * 10,
            "groupId": unit.site,
            "createDate": facts.dates["submitted"][place],
            "modifiedDate": changed[place],
            "referenceUid": national if identity == NATIONAL else str(uuid5(_SPACE, f"o{row}")),
            "serviceCode": codes[procedure],
            "govAgencyCode": unit.portal,
            "govAgencyName": unit.name,
            "applicantName": person.name.upper(),
            "applicantIdNo": person.identity_number,
            "contactTelNo": person.phone,
            "contactEmail": person.email,
            "address": person.address,
            "dossierNo": code if facts.registered[place] else "",
            "dossierStatus": _OPENCPS_WORDS[facts.status[place]],
            "dossierSubStatus": "",
            "lockState": "",
            "submitDate": facts.dates["submitted"][place],
            "receiveDate": facts.dates["received"][place],
            "dueDate": facts.dates["due"][place],
            "extendDate": None,
            "releaseDate": facts.dates["completed"][place],
            "finishDate": facts.dates["returned"][place],
            "dossierActionId": 1 + row,
            "online": channel == ONLINE,
            "viaPostal": 0,
            "fromViaPostal": 1 if channel == POST else 0,
            "originality": 1 if channel == ONLINE else 3,
            "originDossierId": 0,
            "systemId": 5 if identity == NATIONAL else 0,
        }
        yield OPENCPS_DOSSIER, dossier
        yield from _ghosts(dossier, row)
        yield from _opencps_files(population, facts, place, person.slug, changed[place])
        yield from _opencps_payment(population, facts, place, paid_on[place])


def _ghosts(dossier: Row, row: int) -> Iterator[tuple[sa.Table, Row]]:
    if row % _DELETED_EVERY == 0:
        deleted = {"dossierId": dossier["dossierId"] + 1, "originality": -dossier["originality"]}
        yield OPENCPS_DOSSIER, dossier | deleted | {"referenceUid": f"xoa-{row}", "dossierNo": f"XOA-{row}"}
    if row % _CHILD_EVERY == 0:
        child = {"dossierId": dossier["dossierId"] + 2, "originality": 2, "originDossierId": dossier["dossierId"]}
        yield OPENCPS_DOSSIER, dossier | child
    if row % _CHILD_EVERY == 1:
        draft = {"dossierId": dossier["dossierId"] + 3, "dossierActionId": 0, "dossierStatus": "", "dossierNo": ""}
        yield OPENCPS_DOSSIER, dossier | draft


def _opencps_files(
    population: Population, facts: _Facts, place: int, slug: str, changed: datetime | None
) -> Iterator[tuple[sa.Table, Row]]:
    row = int(facts.rows[place])

    def file(number: int, kind: int, *, removed: bool = False, form: bool = False) -> tuple[sa.Table, Row]:
        """One file; a form that was filled in on the screen has none."""
        return OPENCPS_FILE, {
            "dossierFileId": FIRST_ID + row * 20 + number,
            "dossierId": FIRST_ID + row * 10,
            "createDate": changed,
            "modifiedDate": changed,
            "dossierPartNo": f"{'TP' if kind == 1 else 'KQ'}{number:02d}",
            "displayName": f"{slug}-{number}.pdf",
            "dossierPartType": kind,
            "fileEntryId": 0 if form else row * 20 + number + 1,
            "eForm": form,
            "removed": removed,
            "formData": f'{{"hoTen":"{slug}"}}' if form else "",
        }

    for number in range(1, int(population.whole("attached")[row]) + 1):
        yield file(number, 1, form=(row + number) % 23 == 0)
    if population.flag("deleted_paper")[row]:
        yield file(8, 1, removed=True)
    if facts.result[place]:
        yield file(10, 2)


def _opencps_payment(
    population: Population, facts: _Facts, place: int, changed: datetime | None
) -> Iterator[tuple[sa.Table, Row]]:
    row = int(facts.rows[place])
    if population.whole("lines")[row] == 0:
        return
    settled = facts.settled[place]
    amount = int(population.whole("amount1")[row] + population.whole("amount2")[row])
    method = PORTAL_METHODS[METHODS[int(population.whole("method")[row])]][0]
    yield (
        OPENCPS_PAYMENT,
        {
            "paymentFileId": FIRST_ID + row,
            "dossierId": FIRST_ID + row * 10,
            "createDate": changed,
            "modifiedDate": changed,
            "feeAmount": amount,
            "paymentAmount": amount if settled else 0,
            "paymentStatus": 5 if settled else 1 if amount else 0,
            "paymentMethod": method if settled else "",
            "accountUserName": people()[row % POOL].name,
            "confirmDatetime": facts.paid[place],
        },
    )


Fill = Callable[..., None]
#: Vendor → its tables and how they are filled.
REPLICAS: Mapping[str, tuple[sa.MetaData, Fill]] = {"td": (TD, fill_td), "opencps": (OPENCPS, fill_opencps)}
