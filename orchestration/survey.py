"""What a profile makes of a sample of its system's records, for whoever writes the profile.

Belongs here: how much of each field is there, which dates and codes cannot be read, and how that is laid
out. Does not belong here: reading the sample (`reach.py`), what conforming does (its SQL says it; the same
macros are used here).

A sample is shown in codes and dates alone. A field that is mapped wrongly may hold anything, so what is no
code or looks like a person is told by its length.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import duckdb
import pyarrow as pa
from rich.table import Table

from assets.dossiers.profiled import Profiled
from connectors.person_marks import looks_personal
from connectors.profiled import DATES, LISTS, SCHEMA, Profile, Subject, instant_sql
from connectors.rest_map import mapped
from connectors.rest_profile import RestProfile
from expectations.wording import count_vi
from warehouse.lake import session

#: Records that are shown one by one, and codes that are listed of each kind.
SHOWN = 3
LISTED = 8
_LENGTH = 32
#: Without one of these in any record the map is wrong; everything else may be absent for good reason.
_NEEDED = {
    "dossier": ("record_id", "procedure_code", "agency", "status"),
    "payment": ("record_id", "dossier_code", "payments"),
}
_CODE = re.compile(r"(?=.*\d)[\w.:/-]+")
_DATE = re.compile(r"(?=.*\d)[\d/:.TZ +-]+")
#: Short words of the system's own; they are what has to be given a meaning.
_VOCABULARY = frozenset({"status", "channel", "service_level", "agency", "method", "state"})
_KIND_VI = {
    "status": "trạng thái",
    "channel": "kênh thực hiện",
    "service_level": "mức độ dịch vụ",
    "payment_method": "hình thức thanh toán",
    "payment_state": "tình trạng thanh toán",
    "agency": "đơn vị",
    "procedure": "thủ tục",
}
#: Where an operator gives such a code its meaning.
_REMEDY_VI = {"payment_state": "hồ sơ nguồn (codes)", "agency": "bảng đơn vị của tỉnh", "procedure": "danh mục thủ tục"}
_CODES_REMEDY = "bảng mã của tỉnh hoặc hồ sơ nguồn (codes)"


@dataclass(frozen=True)
class FieldSeen:
    """One field of the sample: how many records say nothing, how many dates cannot be read, and the first ones."""

    name: str
    said_at: str
    blank: int
    unreadable: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class Unmapped:
    """A code without a meaning, and in how many records it stands."""

    kind: str
    code: str
    count: int


@dataclass(frozen=True)
class Survey:
    """What came of a sample; `problems` are what keeps records out, one sentence each."""

    rows: int
    fields: tuple[FieldSeen, ...]
    unmapped: tuple[Unmapped, ...]
    subject: Subject = "dossier"

    @property
    def problems(self) -> tuple[str, ...]:
        """What must be mended before a night counts these records."""
        return tuple(self._problems())

    def _problems(self) -> Iterator[str]:
        for field in self.fields:
            if field.name in _NEEDED[self.subject] and field.blank == self.rows:
                yield (
                    f"fields.{field.name}: không bản ghi nào trong {self.rows} bản ghi mẫu có gì ở "
                    f"{field.said_at or '(không được ánh xạ)'} · the path leads nowhere"
                )
            if field.unreadable:
                yield f"fields.{field.name}: {field.unreadable} ngày không đọc được theo dates · unreadable dates"
        for kind, name in _KIND_VI.items():
            codes = [each for each in self.unmapped if each.kind == kind]
            if codes and kind != "procedure":
                yield f"{len(codes)} mã {name} chưa có nghĩa ({sum(each.count for each in codes)} bản ghi) · unmapped"

    def tables(self) -> tuple[Table, ...]:
        """The sample, and the codes without a meaning."""
        return (self._sample_table(), self._code_table()) if self.unmapped else (self._sample_table(),)

    def _sample_table(self) -> Table:
        table = Table(title=f"{count_vi(self.rows)} bản ghi mẫu · sample", title_justify="left")
        for heading in ("trường · field", "lấy từ · from", "trống · blank", "ngày sai", *("mẫu",) * SHOWN):
            table.add_column(heading, overflow="fold")
        for field in self.fields:
            share = f"{100 * field.blank / self.rows:.0f} %" if self.rows else ""
            wrong = str(field.unreadable) if field.unreadable else ""
            examples = [*field.examples, *("",) * (SHOWN - len(field.examples))]
            table.add_row(field.name, _plain(field.said_at), share, wrong, *map(_plain, examples))
        return table

    def _code_table(self) -> Table:
        table = Table(title="Mã chưa có nghĩa · codes without a meaning", title_justify="left")
        for heading in ("loại · kind", "mã · code", "số bản ghi · records", "thêm vào · add to"):
            table.add_column(heading, overflow="fold")
        for kind, name in _KIND_VI.items():
            codes = [each for each in self.unmapped if each.kind == kind]
            for each in codes[:LISTED]:
                table.add_row(name, _plain(each.code), count_vi(each.count), _REMEDY_VI.get(kind, _CODES_REMEDY))
            if len(codes) > LISTED:
                table.add_row(name, f"… và {len(codes) - LISTED} mã khác", "", "")
        return table


def _plain(text: str) -> str:
    """Text that the terminal takes as it stands."""
    return text.replace("[", r"\[")


def survey(sample: pa.Table, system: Profiled, *, agencies: pa.Table, codes: pa.Table, procedures: pa.Table) -> Survey:
    """Look a sample (columns of the contract) over by the province's tables and the known procedures."""
    connection = session()
    connection.execute(resources.files("assets.dossiers").joinpath("sql/macros.sql").read_text(encoding="utf-8"))
    for name, table in {"sample": sample, "agencies_said": agencies, "codes_said": codes, "known": procedures}.items():
        connection.register(name, table)
    connection.execute("CREATE TEMP TABLE code_map (source VARCHAR, kind VARCHAR, code VARCHAR, value VARCHAR)")
    system.register_codes(connection)
    return Survey(
        rows=sample.num_rows,
        fields=tuple(_fields(connection, sample, system.profile)),
        unmapped=tuple(_unmapped(connection, system)),
        subject=system.profile.subject,
    )


def _fields(connection: duckdb.DuckDBPyConnection, sample: pa.Table, profile: Profile) -> Iterator[FieldSeen]:
    places = dict(_places(profile))
    for name in SCHEMA.names:
        if name in LISTS:
            inner = {key for key in places if key.startswith(f"{name}.")}
            if name in places or inner:
                told = ", ".join(sorted(key.removeprefix(f"{name}.") for key in inner))
                counts = [f"{len(value)} mục" for value in sample[name].to_pylist() if value][:SHOWN]
                blank = sum(not value for value in sample[name].to_pylist())
                yield FieldSeen(name, told or places.get(name, ""), blank, 0, tuple(counts))
        elif name in places or name in _NEEDED[profile.subject]:
            values = sample[name].to_pylist()
            said = [value for value in values if value is not None and str(value).strip()]
            wrong = _unreadable(connection, name, profile) if name in DATES else 0
            examples = tuple(shown(name, value) for value in said[:SHOWN])
            yield FieldSeen(name, places.get(name, ""), len(values) - len(said), wrong, examples)


def _places(profile: Profile) -> Iterator[tuple[str, str]]:
    """Field → where the profile says that it stands, in the profile's own words."""
    if isinstance(profile, RestProfile):
        yield from ((name, " | ".join(paths) or "const") for name, paths in mapped(profile))
        yield from ((name, details.path) for details in profile.details for name in details.lists)
        return
    for key in ("fields", "columns", "lists"):
        said = getattr(profile, key, None)
        if isinstance(said, Mapping):
            yield from ((str(name), place if isinstance(place, str) else "") for name, place in said.items())


def _unreadable(connection: duckdb.DuckDBPyConnection, name: str, profile: Profile) -> int:
    query = f'SELECT count(*) FROM sample WHERE said("{name}") IS NOT NULL AND {instant_sql(name, profile)} IS NULL'
    return int(connection.execute(query).fetchall()[0][0])


def shown(name: str, value: Any) -> str:
    """A value of a sample as it may be shown: a code, a date, a yes or no; anything else by its length."""
    if isinstance(value, bool):
        return "có" if value else "không"
    text = str(value).strip()
    is_told = bool((_DATE if name in DATES else _CODE).fullmatch(text)) or name in _VOCABULARY
    if name in DATES and is_told:
        return text[:_LENGTH]
    if not is_told or looks_personal(text):
        return f"«{len(text)} ký tự»"
    return text if len(text) <= _LENGTH else f"{text[:_LENGTH]}…"


#: Kind of code → SQL listing (record, code) of the sample; codes as conforming compares them.
_CODES_SQL = {
    "status": "SELECT record_id, coalesce(trim(status), '') FROM sample",
    "channel": "SELECT record_id, coalesce(trim(channel), '') FROM sample",
    "service_level": "SELECT record_id, said(service_level) FROM sample WHERE said(service_level) IS NOT NULL",
    "payment_state": """
        SELECT record_id, said(p.state) FROM (SELECT record_id, unnest(payments) AS p FROM sample)
        WHERE said(p.state) IS NOT NULL
    """,
    "payment_method": """
        SELECT record_id, coalesce(trim(p.method), '') FROM (SELECT record_id, unnest(payments) AS p FROM sample)
        WHERE try_cast(said(p.amount_vnd) AS DOUBLE) > 0 AND EXISTS (
            SELECT 1 FROM code_map AS m WHERE m.kind = 'payment_state' AND m.value = 'settled'
                AND m.code = $name || ':' || said(p.state)
        )
    """,
}
_AGENCIES_SQL = """
    SELECT coalesce(said(agency), '') AS code, count(DISTINCT record_id) AS records FROM sample
    WHERE NOT EXISTS (
        SELECT 1 FROM agencies_said AS a WHERE a.source = $name AND agency_key(a.agency) = agency_key(sample.agency)
    )
    GROUP BY 1 ORDER BY 2 DESC, 1
"""
_PROCEDURES_SQL = """
    SELECT procedure_code(procedure_code) AS code, count(DISTINCT record_id) AS records FROM sample
    WHERE said(procedure_code) IS NOT NULL
        AND procedure_code(procedure_code) NOT IN (SELECT procedure_code FROM known)
    GROUP BY 1 ORDER BY 2 DESC, 1
"""


def _unmapped(connection: duckdb.DuckDBPyConnection, system: Profiled) -> Iterator[Unmapped]:
    tells_dossiers = not system.tells_payments
    for kind, listing in _CODES_SQL.items():
        if not (tells_dossiers or kind.startswith("payment_")):
            continue
        query = f"""
            SELECT code, count(DISTINCT record_id) FROM ({listing}) AS found(record_id, code)
            WHERE NOT EXISTS (SELECT 1 FROM code_map AS m WHERE m.kind = $kind AND m.code = $name || ':' || found.code)
            GROUP BY 1 ORDER BY 2 DESC, 1
        """
        rows = connection.execute(query, {"kind": kind, "name": system.name}).fetchall()
        yield from _told(kind, rows)
    if not tells_dossiers:
        return
    yield from _told("agency", connection.execute(_AGENCIES_SQL, {"name": system.name}).fetchall())
    yield from _told("procedure", connection.execute(_PROCEDURES_SQL).fetchall())


def _told(kind: str, rows: Sequence[tuple[str, int]]) -> Iterator[Unmapped]:
    name = {"procedure": "procedure_code", "payment_method": "method", "payment_state": "state"}.get(kind, kind)
    yield from (Unmapped(kind, shown(name, code) if code else "(trống)", count) for code, count in rows)
