"""One dossier, whole: every version of every source record, the conformed row and why it reads so, what it counts in.

Belongs here: gathering the answer as a tree of plain values. Does not belong here: how a row is merged or
judged (`assets/dossiers`, `assets/indicators`), nor printing (`orchestration/commands/trace.py`).

Contract fields only, as they are stored: a person was never materialised, so none can be shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from importlib import resources
from typing import Any

import duckdb

from assets.dossiers.conform import RAW_BY_SOURCE
from assets.dossiers.directory import Entry, entries, folded
from assets.dossiers.precedence import PLATFORM, PRECEDENCE, Fact
from assets.indicators.definitions import Definition
from assets.questions.decisions import Judgement, Question, said
from assets.questions.past import PastLake
from assets.raw.tables import payments_table, profiled_table
from warehouse.lake import Lake, connect
from warehouse.schema import Table
from warehouse.tables import (
    CORE_AGENCY,
    CORE_CLAIM,
    CORE_COMPONENT,
    CORE_CROSSWALK,
    CORE_DOSSIER,
    CORE_PAYMENT,
    CORE_PROCEDURE,
    CORE_STEP,
    CORE_SUPPLEMENT,
    PERIODS,
    RAW_QUARANTINE,
)

_OWN = (CORE_CROSSWALK, CORE_CLAIM, CORE_DOSSIER, CORE_COMPONENT, CORE_PAYMENT, CORE_STEP, CORE_SUPPLEMENT)
_BOOKKEEPING = frozenset({"record_key", "content_hash", "extracted_at", "night"})
#: The shape of the raw table of a system connected by a profile, by what the table's name begins with.
_PROFILED_SHAPES = {profiled_table("").name: profiled_table, payments_table("").name: payments_table}
#: The field in which a source says when it changed a record; a message says its place in the log instead.
_SOURCE_TIME = {"portal": "modifiedDate", "onestop": "updatedDate", "messages": "position", "progress": "ThoiDiemXuLy"}
#: The field in which a source names the agency, by code or by name.
_AGENCY = {"portal": "govAgencyCode", "onestop": "agencyCode", "messages": "DonViXuLy"}
#: The fields of all contracts that hold a dossier's code, as an excerpt shows them.
_CODE_FIELDS = ("dossier_code", "national_code", "dossierNo", "code", "nationCode", "MaHoSo", "MaHoSoKhac")
_CODE_PARTS = re.compile(r"(?P<agency>.+)-(?P<day>\d{6,8})-\d{4,7}")
_NEAR = 5
#: Status of a dossier that waits for what the citizen has to add.
_WAITING = 5

#: Facts as their claims have them in `core_claim`, by the column of `core_dossier` that they become.
FACTS: Mapping[str, Fact] = {
    **{fact.name: fact for fact in PRECEDENCE if fact.name in CORE_DOSSIER.column_names},
    "has_electronic_result": next(fact for fact in PRECEDENCE if fact.name == "has_result"),
    # The message's flag decides where there is one, else the payments of whoever is believed for payments.
    "is_paid_online": Fact(name="is_paid_online", claim="is_paid_online", order=("messages", "onestop", "portal")),
}
_CLAIM_COLUMN = {"channel_value": "channel", "service_level_value": "service_level"}
#: Columns made from a list that one source is believed for, by the table that keeps the list.
_LISTED = {
    "core_component": (
        "component_count",
        "has_component_attachment",
        "has_digitised_component",
        "is_reused",
        "is_from_personal_store",
    ),
    "core_payment": ("transaction_count", "online_transaction_count", "paid_on"),
    "core_supplement": ("supplement_count", "supplement_wait_seconds"),
}
#: What a payment platform that knows the dossier decides.
_PAID = (*_LISTED["core_payment"], "is_paid_online")
_PLATFORM_VI = (
    "nền tảng thanh toán biết hồ sơ này nên quyết định khoản trực tuyến; tiền mặt, chuyển khoản theo nguồn khác"
)
_CATALOGUE = frozenset({"has_fee", "is_result_required", "is_citizen_subject"})
_RULE_VI = {
    "value": "nguồn đầu tiên có giá trị",
    "block": "nguồn đầu tiên có hồ sơ, kể cả khi để trống",
    "list": "nguồn đầu tiên có danh sách",
}
END_VI = {
    "processed": "kết thúc xử lý",
    "returned": "trả kết quả",
    "stopped": "dừng xử lý",
    "denied": "từ chối",
    "withdrawn": "rút hồ sơ",
    "waiting": "yêu cầu bổ sung, đang chờ người dân",
}


class UnknownDossierError(LookupError):
    """No source record carries the code, nor is one set aside under it; `near` are codes that may have been meant."""

    def __init__(self, code: str, near: Sequence[str]) -> None:
        self.near = tuple(near)
        hint = f" Gần giống: {', '.join(near)}." if near else ""
        super().__init__(f"Không có hồ sơ nào mang mã {code}.{hint} · no dossier with this code")


class AmbiguousCodeError(LookupError):
    """Several dossiers carry the code; `keys` are theirs."""

    def __init__(self, code: str, keys: Sequence[str]) -> None:
        self.keys = tuple(keys)
        super().__init__(f"Mã {code} có ở {len(keys)} hồ sơ: {', '.join(keys)}; hãy hỏi một khóa · ambiguous code")


@dataclass(frozen=True, kw_only=True)
class ValueChange:
    """A field of a source record that another version says otherwise."""

    field: str
    before: str
    after: str


@dataclass(frozen=True, kw_only=True)
class Version:
    """One stored version of a source record; `changes` against the version before, none in the first one."""

    stored_at: datetime
    night: str
    source_time: str | None
    field_count: int
    changes: tuple[ValueChange, ...]


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A code of the directory of a record's source: what the directory calls the agency that the record names."""

    agency: str
    name: str
    unit_code: str | None
    #: What became of the code since the directory was first read, in Vietnamese.
    note: str


@dataclass(frozen=True, kw_only=True)
class Record:
    """A source record and why it belongs to the dossier; `rule` None: it never took part (quarantine).

    `agency` is as its newest version names it, `listed` what its source's directory has under that code or name;
    None where the source has no directory or the record names no agency.
    """

    source: str
    record_key: str
    rule: str | None
    evidence: str | None
    versions: tuple[Version, ...]
    agency: str | None
    listed: tuple[Listed, ...] | None


@dataclass(frozen=True, kw_only=True)
class Said:
    """What one source record says of a fact; only a source's newest record speaks."""

    source: str
    record_key: str
    value: str
    speaks: bool


@dataclass(frozen=True, kw_only=True)
class Field:
    """One column of the conformed row: its value, whose word it is (None: worked out), and why."""

    name: str
    vi: str
    value: str
    source: str | None
    why: str
    said: tuple[Said, ...]


@dataclass(frozen=True, kw_only=True)
class Step:
    """A processing step; never who did it."""

    step_no: int
    acted_at: datetime
    status_code: int


@dataclass(frozen=True, kw_only=True)
class Supplement:
    """A request for a supplement, its answer, and the promise before and after."""

    supplement_no: int
    requested_at: datetime | None
    answered_at: datetime | None
    due_before_at: datetime | None
    due_after_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Payment:
    """A fee line or payment, in đồng; never who paid."""

    payment_no: int
    source: str
    amount_vnd: int
    method: str | None
    is_settled: bool
    is_online: bool
    paid_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Deadline:
    """When it was due and when it ended by the national rule (indicators 2.2), each sentence a step of it."""

    basis: str
    deadline_at: datetime | None
    ended_at: datetime | None
    end_kind: str | None
    is_late: bool
    sentences: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Counted:
    """One indicator version and what it makes of the dossier; one judgement per payment and kind of period."""

    indicator: str
    version: str
    name_vi: str
    document: str
    clause: str
    note_vi: str
    event: str
    judgements: tuple[Judgement, ...]


@dataclass(frozen=True, kw_only=True)
class Held:
    """Why a record of it stands in quarantine, since when, and until when if it was settled.

    The window is the span that was read when extraction set it aside; conforming and old entries have none.
    """

    stage: str
    source: str
    record_key: str
    reason: str
    clause: str
    detail: str
    quarantined_at: datetime
    window_start: datetime | None
    window_end: datetime | None
    settled_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Trace:
    """Everything known of one dossier up to `as_of`.

    `dossier_key` is None where records carry the code but none could be conformed (see `quarantine`); `records` are
    none where all that is known of it was set aside at extraction.
    `also` are other dossiers that carry the same code.
    """

    asked: str
    dossier_key: str | None
    also: tuple[str, ...]
    as_of: datetime
    records: tuple[Record, ...]
    fields: tuple[Field, ...]
    steps: tuple[Step, ...]
    supplements: tuple[Supplement, ...]
    payments: tuple[Payment, ...]
    deadline: Deadline | None
    indicators: tuple[Counted, ...]
    quarantine: tuple[Held, ...]


def trace(lake: Lake, code: str, *, definitions: Sequence[Definition], as_of: datetime) -> Trace:
    """Trace the dossier that any of its codes names; spaces, kinds of dashes and case do not matter.

    Raises `UnknownDossierError` or `AmbiguousCodeError`.
    """
    profiled = _profiled(lake)
    read = (*_OWN, *RAW_BY_SOURCE.values(), *profiled.values(), RAW_QUARANTINE, CORE_PROCEDURE)
    directories = _directories(lake)
    connection = lake.connect(*read, connection=connect())
    connection.execute(resources.files("assets.dossiers").joinpath("sql/macros.sql").read_text(encoding="utf-8"))
    key, also = _found(connection, code)
    _take(connection, key)
    members = _members(connection, key, code, profiled)
    held = _held(connection, members, code)
    if not members and all(one.settled_at for one in held):
        raise UnknownDossierError(code, _near(connection, code))
    (row,) = _rows(connection, "SELECT * FROM one.core_dossier") or (None,)
    claims = _rows(connection, "SELECT * FROM one.core_claim ORDER BY source, record_key")
    return Trace(
        asked=code,
        dossier_key=key,
        also=also,
        as_of=as_of,
        records=tuple(_record(connection, member, profiled, directories) for member in members),
        fields=_fields(connection, row, claims) if row else (),
        steps=_listed(connection, Step, "core_step", "step_no"),
        supplements=_listed(connection, Supplement, "core_supplement", "supplement_no"),
        payments=_listed(connection, Payment, "core_payment", "payment_no"),
        deadline=_deadline(connection, row, as_of) if row else None,
        indicators=tuple(_counted(connection, one, as_of) for one in definitions) if row else (),
        quarantine=held,
    )


def _profiled(lake: Lake) -> dict[str, Table]:
    """The raw tables of systems connected by a profile, by the system's name; of a past night those it knew."""
    there = lake.versions if isinstance(lake, PastLake) else lake.names()
    return {
        name.removeprefix(prefix): shape(name.removeprefix(prefix))
        for prefix, shape in _PROFILED_SHAPES.items()
        for name in there
        if name.startswith(prefix)
    }


def _directories(lake: Lake) -> dict[str, list[Entry]]:
    """What each source's directory lists, by the source's name; of a past night what it knew."""
    if isinstance(lake, PastLake) and CORE_AGENCY.name not in lake.versions:
        return {}
    found: dict[str, list[Entry]] = {}
    for entry in entries(lake.read(CORE_AGENCY)):
        found.setdefault(entry.source, []).append(entry)
    return found


def _rows(connection: duckdb.DuckDBPyConnection, query: str, **values: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = connection.sql(query, params=values or None).to_arrow_table().to_pylist()
    return rows


_FIND = """
    SELECT dossier_key, min(rank) AS rank
    FROM (
        SELECT dossier_key, 1 AS rank FROM core_dossier WHERE upper(dossier_key) = dossier_code($code)
        UNION ALL SELECT dossier_key, 2 FROM core_dossier WHERE dossier_code = dossier_code($code)
        UNION ALL SELECT dossier_key, 3 FROM core_claim WHERE dossier_code($code) IN (code, other_code)
        UNION ALL SELECT dossier_key, 4 FROM core_crosswalk WHERE upper(evidence) = dossier_code($code)
    )
    GROUP BY dossier_key ORDER BY rank, dossier_key
"""


def _found(connection: duckdb.DuckDBPyConnection, code: str) -> tuple[str | None, tuple[str, ...]]:
    """The dossier's key, and other dossiers that carry the code less directly."""
    rows = _rows(connection, _FIND, code=code)
    nearest = [row["dossier_key"] for row in rows if row["rank"] == rows[0]["rank"]]
    if len(nearest) > 1:
        raise AmbiguousCodeError(code, nearest)
    others = tuple(row["dossier_key"] for row in rows[1:])
    return (nearest[0] if nearest else None), others


def _take(connection: duckdb.DuckDBPyConnection, key: str | None) -> None:
    """The dossier's own rows in the schema `one`, so that nothing scans the lake a second time."""
    connection.execute("CREATE SCHEMA one")
    for table in _OWN:
        connection.execute(
            f"CREATE TABLE one.{table.name} AS SELECT * FROM {table.name} WHERE dossier_key = $key", {"key": key}
        )


#: The codes that records carry, by source: what `identifiers.sql` matches on.
_CODES = {
    "portal": ("dossierNo", "CASE WHEN systemId = 5 THEN referenceUid END"),
    "onestop": ("code", "nationCode"),
    "messages": ("MaHoSo", "MaHoSoKhac"),
    "progress": ("MaHoSo",),
}


#: The code asked for, and those that the dossier's records carry.
_KNOWN_CODES = """
    SELECT code FROM (
        SELECT dossier_code($code) AS code
        UNION SELECT code FROM one.core_claim UNION SELECT other_code FROM one.core_claim
    )
"""


def _members(
    connection: duckdb.DuckDBPyConnection, key: str | None, code: str, profiled: Mapping[str, Table]
) -> list[dict[str, Any]]:
    """Source records of the dossier by the crosswalk, steps by its codes, and payments that carry one and wait.

    Where it was never conformed, every record that carries the code; one of a profiled system under that
    system's own name, since its role is known only to who conforms it.
    """
    sources = _CODES if key is None else ("progress",)
    carried = "\n    UNION ".join(
        f"SELECT '{source}' AS source, record_key, dossier_code({column}) AS code FROM {RAW_BY_SOURCE[source].name}"
        for source in sources
        for column in _CODES[source]
    )
    if key is None:
        carried += "".join(
            f"\n    UNION SELECT '{name}', record_key, dossier_code({column}) FROM {table.name}"
            for name, table in profiled.items()
            for column in ("dossier_code", "national_code")
            if column in table.column_names
        )
    carried_rule = "CASE WHEN $is_conformed THEN 'code' END"
    waiting = "".join(
        f"\n        UNION ALL {_waiting_sql(table)}" for table in profiled.values() if _is_payments(table)
    )
    return _rows(
        connection,
        f"""
        WITH code AS ({_KNOWN_CODES})
        SELECT source, record_key, rule, evidence FROM one.core_crosswalk
        UNION ALL
        SELECT source, record_key, {carried_rule}, any_value(code)
        FROM ({carried}) SEMI JOIN code USING (code) GROUP BY source, record_key{waiting if key else ""}
        ORDER BY list_position(['portal', 'onestop', 'messages', 'payments', 'progress'], source), record_key
        """,
        code=code,
        is_conformed=key is not None,
    )


def _is_payments(table: Table) -> bool:
    return table.name.startswith(payments_table("").name)


def _waiting_sql(table: Table) -> str:
    """Payments that name the dossier in their newest words and are there still, but are none of its payments."""
    order = "extracted_at" + (", position" if "position" in table.column_names else "")
    newest = f"SELECT * FROM {table.name} QUALIFY row_number() OVER (PARTITION BY record_key ORDER BY {order} DESC) = 1"
    return (
        f"SELECT 'payments', record_key, NULL, dossier_code(dossier_code) FROM ({newest}) AS newest "
        "WHERE is_gone IS NOT TRUE AND dossier_code(dossier_code) IN (SELECT code FROM code) "
        "AND record_key NOT IN (SELECT record_key FROM one.core_crosswalk WHERE source = 'payments')"
    )


def _near(connection: duckdb.DuckDBPyConnection, code: str) -> list[str]:
    """Codes of the same agency and day first, then those that differ in two signs at most."""
    (normal,) = connection.execute("SELECT dossier_code(?)", [code]).fetchall()[0]
    parts = _CODE_PARTS.fullmatch(normal or "")
    start = f"{parts['agency']}-{parts['day']}-" if parts else None
    found = _rows(
        connection,
        "SELECT dossier_code FROM core_dossier WHERE dossier_code IS NOT NULL AND "
        "(starts_with(dossier_code, $start) OR levenshtein(dossier_code, $code) <= 2) "
        "ORDER BY starts_with(dossier_code, $start) DESC NULLS LAST, levenshtein(dossier_code, $code), dossier_code "
        f"LIMIT {_NEAR}",
        start=start,
        code=normal or "",
    )
    return [row["dossier_code"] for row in found]


def _record(
    connection: duckdb.DuckDBPyConnection,
    member: Mapping[str, Any],
    profiled: Mapping[str, Table],
    directories: Mapping[str, Sequence[Entry]],
) -> Record:
    # The key of a profiled system's record begins with the system's name.
    name = member["record_key"].partition(":")[0]
    system = profiled.get(name)
    table = system or RAW_BY_SOURCE[member["source"]]
    time = "modified_at" if system else _SOURCE_TIME[member["source"]]
    order = "extracted_at" + (", position" if "position" in table.column_names else "")
    rows = _rows(
        connection, f"SELECT * FROM {table.name} WHERE record_key = $key ORDER BY {order}", key=member["record_key"]
    )
    said_so = [_flat({name: value for name, value in row.items() if name not in _BOOKKEEPING}) for row in rows]
    before = [None, *said_so[:-1]]
    versions = tuple(
        Version(
            stored_at=row["extracted_at"],
            night=row["night"],
            source_time=row[time],
            field_count=len(now),
            changes=_changes(then, now),
        )
        for row, then, now in zip(rows, before, said_so, strict=True)
    )
    agency = rows[-1].get("agency" if system else _AGENCY.get(member["source"], "")) if rows else None
    listed = _listed_as(agency, directories.get(name if system else member["source"]))
    return Record(**member, versions=versions, agency=agency, listed=listed)


def _listed_as(agency: str | None, directory: Sequence[Entry] | None) -> tuple[Listed, ...] | None:
    """What a directory has under a code or a name; None without either."""
    if agency is None or directory is None:
        return None
    return tuple(
        Listed(agency=each.agency, name=each.name, unit_code=each.unit_code, note=each.note)
        for each in directory
        if folded(agency) in (folded(each.agency), folded(each.name))
    )


def _flat(value: Any, path: str = "") -> dict[str, str]:
    """Every leaf that is not null, by its path: files[0].fileSize."""
    if isinstance(value, Mapping):
        parts = ((f"{path}.{name}" if path else name, inner) for name, inner in value.items())
    elif isinstance(value, list):
        parts = ((f"{path}[{place}]", inner) for place, inner in enumerate(value))
    else:
        return {} if value is None else {path: said(value)}
    return {name: text for inner_path, inner in parts for name, text in _flat(inner, inner_path).items()}


def _changes(before: Mapping[str, str] | None, now: Mapping[str, str]) -> tuple[ValueChange, ...]:
    if before is None:
        return ()
    names = dict.fromkeys((*before, *now))
    empty = said(None)
    return tuple(
        ValueChange(field=name, before=before.get(name, empty), after=now.get(name, empty))
        for name in names
        if before.get(name) != now.get(name)
    )


def speaking(claims: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """The claim that speaks for each source: of several records of one source, the newest (`merged.sql`)."""
    best: dict[str, Mapping[str, Any]] = {}
    for claim in claims:
        held = best.get(claim["source"])
        if held is None or _newness(claim) > _newness(held):
            best[claim["source"]] = claim
    return best


def _newness(claim: Mapping[str, Any]) -> tuple[bool, Any, str]:
    at = claim["modified_at"]
    return at is not None, at.timestamp() if at else 0, claim["record_key"]


def believed(fact: Fact, claims: Mapping[str, Mapping[str, Any]]) -> tuple[str | None, Any]:
    """(source, value) of a fact that `core_claim` keeps, by its order and rule; (None, None) when nobody says."""
    column = claim_column(fact)
    for source in fact.order:
        if source in claims and (fact.rule == "block" or claims[source][column] is not None):
            return source, claims[source][column]
    return None, None


def claim_column(fact: Fact) -> str:
    """The column of `core_claim` that holds what sources say of the fact."""
    return _CLAIM_COLUMN.get(fact.claim, fact.claim)


def _fields(
    connection: duckdb.DuckDBPyConnection, row: Mapping[str, Any], claims: Sequence[Mapping[str, Any]]
) -> tuple[Field, ...]:
    listed = {
        name: source
        for table, names in _LISTED.items()
        for source in [_list_source(connection, table)]
        for name in names
    }
    return tuple(
        _field(column.name, column.vi, row, claims, listed)
        for column in CORE_DOSSIER.columns
        if column.name != "lake_month"
    )


def _list_source(connection: duckdb.DuckDBPyConnection, table: str) -> str | None:
    """Whose list it is; beside a payment platform's another source's payments at the counter may stand."""
    first = f"source <> '{PLATFORM}', source"
    (row,) = _rows(connection, f"SELECT string_agg(DISTINCT source, ', ' ORDER BY {first}) AS source FROM one.{table}")
    source: str | None = row["source"]
    return source


def _field(
    name: str,
    vi: str,
    row: Mapping[str, Any],
    claims: Sequence[Mapping[str, Any]],
    listed: Mapping[str, str | None],
) -> Field:
    fact = FACTS.get(name)
    is_platform = name in _PAID and (listed[_PAID[0]] or "").startswith(PLATFORM)
    if fact is not None and claim_column(fact) in CORE_CLAIM.column_names:
        field = _believed_field(name, vi, row, claims, fact)
        return replace(field, source=PLATFORM, why=_PLATFORM_VI) if is_platform else field
    source, why = None, "tính ra từ các dữ kiện khác"
    if name in listed:
        source = listed[name]
        why = f"theo danh sách của nguồn {source}" if source else "không nguồn nào có danh sách"
        why = _PLATFORM_VI if is_platform else why
    elif fact is not None:
        why = f"chỉ nguồn {', '.join(fact.order)} nói điều này"
        source = fact.order[0] if row["in_messages"] else None
    elif name in _CATALOGUE:
        why = "theo danh mục thủ tục tại ngày tiếp nhận"
    return Field(name=name, vi=vi, value=said(row[name]), source=source, why=why, said=())


def _believed_field(
    name: str, vi: str, row: Mapping[str, Any], claims: Sequence[Mapping[str, Any]], fact: Fact
) -> Field:
    speakers = speaking(claims)
    source, value = believed(fact, speakers)
    why = f"{_RULE_VI[fact.rule]} theo thứ tự {' > '.join(fact.order)}"
    if name == "unit_code" and value != row[name]:
        why += f"; đơn vị {value} đã kết thúc, {row[name]} kế thừa"
    elif name == "denied_at" and value is None and row[name] is not None:
        source, why = "messages", "từ bước chuyển sang trạng thái 3 trong tiến độ"
    elif source is None:
        why = "không nguồn nào nói; " + ("coi là không" if row[name] is False else "để trống")
    told = tuple(
        Said(
            source=claim["source"],
            record_key=claim["record_key"],
            value=said(claim[claim_column(fact)]),
            speaks=speakers[claim["source"]] is claim,
        )
        for claim in claims
    )
    return Field(name=name, vi=vi, value=said(row[name]), source=source, why=why, said=told)


def _listed(connection: duckdb.DuckDBPyConnection, kind: type[Any], table: str, order: str) -> tuple[Any, ...]:
    names = ", ".join(kind.__dataclass_fields__)
    return tuple(kind(**row) for row in _rows(connection, f"SELECT {names} FROM one.{table} ORDER BY {order}"))


def _deadline(connection: duckdb.DuckDBPyConnection, row: Mapping[str, Any], as_of: datetime) -> Deadline:
    supplements = _rows(connection, "SELECT * FROM one.core_supplement ORDER BY supplement_no")
    judged_at = row["ended_at"] or as_of
    is_after = row["deadline_at"] is not None and judged_at > row["deadline_at"]
    is_late = row["received_at"] is not None and (row["supplement_count"] > 1 or is_after)
    promise = _promise(row, supplements)
    sentences = [_basis_vi(connection, row, promise), _wait_vi(row, promise), _end_vi(row, as_of)]
    if row["deadline_at"] is not None:
        sentences.append(f"Hạn {said(row['deadline_at'])}: {'sau' if is_after else 'không sau'} hạn.")
    if row["supplement_count"] > 1:
        sentences.append(f"Yêu cầu bổ sung {row['supplement_count']} lần, hơn một lần là trễ (2.2).")
    if row["reception_due_at"] is not None:
        sentences.append(f"Hạn tiếp nhận (08 giờ làm việc sau khi nộp): {said(row['reception_due_at'])}.")
    return Deadline(
        basis=row["deadline_basis"],
        deadline_at=row["deadline_at"],
        ended_at=row["ended_at"],
        end_kind=row["end_kind"],
        is_late=is_late,
        sentences=tuple(sentence for sentence in sentences if sentence),
    )


def _promise(row: Mapping[str, Any], supplements: Sequence[Mapping[str, Any]]) -> datetime | None:
    """The promise that the deadline rests on, by the rule of `timed.sql`.

    The one before the first request counts where the waiting is known or goes on; else the one in force.
    """
    first: datetime | None = supplements[0]["due_before_at"] if supplements else None
    is_first = first is not None and (row["supplement_wait_seconds"] or row["status_code"] == _WAITING)
    due: datetime | None = row["due_at"]
    return first if is_first else due


def _basis_vi(connection: duckdb.DuckDBPyConnection, row: Mapping[str, Any], promise: datetime | None) -> str:
    if row["deadline_basis"] == "promise":
        told = "hẹn trả" if promise == row["due_at"] else "hẹn trả trước khi yêu cầu bổ sung"
        return f"Hạn dựa trên {told}: {said(promise)}."
    if row["deadline_basis"] == "none":
        return "Không có hẹn trả và thủ tục không công bố thời hạn: không thể trễ."
    limits = _rows(
        connection,
        "SELECT limit_value, limit_unit FROM core_procedure WHERE procedure_code = $procedure AND valid_from <= $day "
        "ORDER BY valid_from DESC LIMIT 1",
        procedure=row["procedure_code"],
        day=row["received_on"],
    )
    told = f"{limits[0]['limit_value']:g} {limits[0]['limit_unit']}" if limits else "đã công bố"
    return f"Không có hẹn trả: hạn dựa trên thời hạn của thủ tục, {told} từ {said(row['received_at'])}."


def _wait_vi(row: Mapping[str, Any], promise: datetime | None) -> str:
    waited = row["supplement_wait_seconds"]
    if not waited:
        return ""
    if row["deadline_basis"] == "promise" and row["deadline_at"] == promise:
        return "Hẹn trả này được đặt sau khi nhận bổ sung nên đã gồm thời gian chờ; hạn không lùi thêm."
    return f"Hạn được lùi theo thời gian chờ bổ sung: {waited // 86400} ngày {waited % 86400 // 3600} giờ."


def _end_vi(row: Mapping[str, Any], as_of: datetime) -> str:
    if row["end_kind"] is None:
        return f"Chưa kết thúc: xét tại ngày cuối kỳ, không quá {said(as_of)}."
    return f"Kết thúc bằng {END_VI[row['end_kind']]} lúc {said(row['ended_at'])} (thứ tự ưu tiên của 2.2)."


def _counted(connection: duckdb.DuckDBPyConnection, definition: Definition, as_of: datetime) -> Counted:
    kinds = PERIODS if definition.is_judged_at_period_end else (None,)
    found = [one for kind in kinds for one in Question(definition, as_of, kind).judgements(connection, schema="one")]
    return Counted(
        indicator=definition.id,
        version=definition.version,
        name_vi=definition.name_vi,
        document=definition.document,
        clause=definition.clause,
        note_vi=definition.note_vi,
        event=definition.event,
        judgements=tuple(found),
    )


def _held(connection: duckdb.DuckDBPyConnection, members: Sequence[Mapping[str, Any]], code: str) -> tuple[Held, ...]:
    """Quarantine rows of the records, of any record whose key is the code, and of what extraction set aside under it.

    The last was never stored as a record; its excerpt says which dossier it names. What is read beside dossiers
    (catalogues, directories, statements) breaks no record contract, and its keys are no dossiers' codes.
    """
    names = ", ".join(Held.__dataclass_fields__)
    carried = ", ".join(f"dossier_code(excerpt ->> '{name}')" for name in _CODE_FIELDS)
    rows = _rows(
        connection,
        f"SELECT {names} FROM raw_quarantine WHERE (stage = 'conform' OR contract IS NOT NULL) AND ("
        "list_contains($records::VARCHAR[], source || '|' || record_key) "
        "OR (list_contains($keys::VARCHAR[], record_key) AND contains(record_key, ':')) "
        "OR dossier_code(record_key) = dossier_code($code) OR starts_with(record_key, dossier_code($code) || '|') "
        f"OR (stage = 'extract' AND settled_at IS NULL AND list_has_any([{carried}], $codes::VARCHAR[]))) "
        "ORDER BY quarantined_at, source, record_key",
        records=[f"{member['source']}|{member['record_key']}" for member in members],
        # A profiled system's record is held under the system's name or its role.
        keys=[member["record_key"] for member in members],
        codes=[row["code"] for row in _rows(connection, f"{_KNOWN_CODES} WHERE code IS NOT NULL", code=code)],
        code=code,
    )
    return tuple(Held(**row) for row in rows)
