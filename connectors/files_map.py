"""Cells of a dropped table as records of the contract, and the rows that break, each with its cell.

Belongs here: which cell fills which field, codes that a spreadsheet has spoilt, rows that make one record
together. Does not belong here: reading a format (`files_sheets.py`, `files_objects.py`), the order of files
and slices (`files.py`).

A code that lost its leading zeros is refused with its cell, never repaired: nobody can say how many there
were. A row that breaks is told by file, sheet and cell; its values stay where they are.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, time
from decimal import Decimal
from functools import cached_property
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from connectors.contract import Broken, Clause, RecordContract, wire_field
from connectors.files_profile import (
    AMOUNTS,
    CODES,
    Const,
    FilesProfile,
    Items,
    Joined,
    Source,
    is_presence,
    name_key,
    names_of,
)
from connectors.files_table import FORMULA, Row, Table, text_of
from connectors.observation_cells import Cell, UnreadableCellError, count_of
from connectors.profiled import SCHEMA, contract, instant_sql, is_there
from connectors.rest_map import lists

BATCH_ROWS = 20_000
#: A row without a key that says no more than this is a total or a signature, not a record.
_FOOTER_CELLS = 2
#: 123E+11, 1.23E+11: what a spreadsheet made of a long number. 123.0: what a data frame made of one.
_SPOILT = re.compile(r"[0-9]+(?:[.,][0-9]+)?[eE]\+?[0-9]+|[0-9]+[.,]0{1,2}")
_WRITTEN_AS_NUMBER = "mã đã bị đổi thành số (dạng lũy thừa 10, hoặc có phần thập phân)"
_ERRORS = frozenset({"#N/A", "#REF!", "#VALUE!", "#DIV/0!", "#NAME?", "#NULL!", "#NUM!", "#SPILL!"})
_CURRENCY = re.compile(r"\s*(?:đồng|đ|vnđ|vnd|₫)\.?$", re.IGNORECASE)
#: Beyond this a spreadsheet keeps no digit.
_EXACT = 10**15
_LIST_DATES = frozenset({"paid_at", "requested_at", "answered_at", "due_before_at", "due_after_at"})

SCHEMA_OF_FILES = pa.schema(
    [
        *SCHEMA,
        wire_field("slice", pa.string(), "Phần được thay", "What part of the system's records the file stands for"),
        wire_field(
            "position",
            pa.string(),
            "Vị trí",
            "The moment the file stands for, its name's hash and the row; sorts as dropped",
        ),
    ]
)

Texts = list[str | None]


def contract_of(system: str, profile: FilesProfile) -> RecordContract:
    """The record contract of a source of files: what an older file says never comes over what a newer one said.

    What was set aside under another map of columns is read again, hence the clause that always holds.
    """
    base = contract(system, profile)
    mapped = Clause("as_mapped", f"'{mapping_of(profile)}' <> ''", (), "Bản đồ cột của hồ sơ nguồn")
    names = {name_key(name) for _, wanted, _ in profile.columns() for name in wanted}
    read = tuple(sorted(names | {name.split(".")[0] for name in names}))
    return replace(base, schema=SCHEMA_OF_FILES, position="position", clauses=(*base.clauses, mapped), wire=read)


def mapping_of(profile: FilesProfile) -> str:
    """Changes with everything that decides what is read from a file; codes and formats of dates do not."""
    said = profile.model_dump_json(exclude={"system", "zone", "dates", "codes"})
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def slice_name(parts: Iterable[str | None]) -> str:
    """What tells one slice from another, as one word."""
    return "|".join("_".join((part or "").split()) for part in parts)


@dataclass(frozen=True)
class Problem:
    """What is wrong with a cell (its column, -1 for the row), as a reason for machines and words for people."""

    column: int
    field: str
    reason: str
    text: str


@dataclass(frozen=True)
class Mapped:
    """Records of a batch (the contract's columns, the key of each), and the rows that are none.

    `keys` are those of every record that was recognised, broken ones too. `unnamed`: rows of which nobody can
    say which record they are; `skipped` rows are totals and signatures.
    """

    records: pa.Table
    keys: Texts
    broken: tuple[Broken, ...]
    unnamed: int
    skipped: int


def mapped(table: Table, profile: FilesProfile, system: str, *, slice_: str | None, digest: str) -> Iterator[Mapped]:
    """The records of a table, at most `BATCH_ROWS` rows at a time; `slice_` is that of the file, if its name says it.

    `position` holds the number of the row; the order of the file is put before it by the caller. `digest` tells
    one version of the file from another in quarantine.
    """
    mapper = _Mapper(table, profile, system, slice_, digest)
    rows: list[Row] = []
    for row in table.rows:
        rows.append(row)
        if len(rows) >= BATCH_ROWS and (ready := mapper.ready(rows)):
            yield mapper.batch(rows[:ready])
            rows = rows[ready:]
    if rows:
        yield mapper.batch(rows)


@dataclass
class _Mapper:
    table: Table
    profile: FilesProfile
    system: str
    slice_: str | None
    digest: str
    #: Keys of records that are complete, where rows of one must follow each other.
    _closed: set[str] = field(default_factory=set)

    @cached_property
    def contract(self) -> RecordContract:
        return contract(self.system, self.profile)

    @property
    def is_grouped(self) -> bool:
        return self.profile.rows == "grouped"

    def ready(self, rows: Sequence[Row]) -> int:
        """How many rows can be mapped now: a record whose rows may go on waits, whatever its size."""
        if not self.is_grouped:
            return len(rows)
        keys = _Batch(self, rows).keys
        last = next((key for key in reversed(keys) if key), None)
        start = len(rows)
        for at in range(len(rows) - 1, -1, -1):
            if keys[at] is not None and keys[at] != last:
                break
            start = at if keys[at] == last else start
        return start

    def where(self, table: pa.Table, expression: str) -> list[tuple[int, int]]:
        """Indexes of the rows of which the SQL says a number, with it."""
        self._sql.register("numbered", table.append_column("_at", pa.array(range(table.num_rows), pa.int64())))
        query = f"SELECT _at, {expression} AS said FROM numbered WHERE said IS NOT NULL ORDER BY _at"
        return [(int(at), int(said)) for at, said in self._sql.sql(query).fetchall()]

    @cached_property
    def _sql(self) -> duckdb.DuckDBPyConnection:
        connection = duckdb.connect()
        connection.execute("SET TimeZone = 'UTC'")
        return connection

    def batch(self, rows: Sequence[Row]) -> Mapped:
        return _Batch(self, rows).mapped()


class _Batch:
    """Some rows of a table on their way to records."""

    def __init__(self, mapper: _Mapper, rows: Sequence[Row]) -> None:
        self.mapper, self.rows = mapper, rows
        self.profile, self.columns = mapper.profile, mapper.table.columns
        self.problems: dict[int, Problem] = {
            at: Problem(-1, "row", "broken_row", row.problem) for at, row in enumerate(rows) if row.problem
        }
        self._raw: dict[int, list[Any]] = {}
        self._texts: dict[int, Texts] = {}

    # Cells.

    def raw(self, column: int) -> list[Any]:
        """The cells of a column as they came; nothing of a row that broke."""
        if column not in self._raw:
            self._raw[column] = [
                row.cells[column] if row.problem is None and column < len(row.cells) else None for row in self.rows
            ]
        return self._raw[column]

    def texts(self, column: int) -> Texts:
        """The same as trimmed texts in NFC; blank is None. A cell that holds no single value is a problem."""
        if column not in self._texts:
            plain = [None if value is FORMULA or isinstance(value, list | dict) else text_of(value)
                     for value in self.raw(column)]  # fmt: skip
            array = pc.utf8_trim_whitespace(pc.utf8_normalize(pa.array(plain, pa.string()), form="NFC"))
            self._texts[column] = [text or None for text in array.to_pylist()]
        return self._texts[column]

    def found(self, names: Sequence[str]) -> list[int]:
        """The columns of these names that are there."""
        return [self.columns[key] for name in names if (key := name_key(name)) in self.columns]

    def values(self, source: Source) -> Texts:
        """A field's texts, row by row."""
        if isinstance(source, Const):
            return [str(source.const)] * len(self.rows)
        columns = [self.texts(at) for at in self.found(names_of(source))]
        if isinstance(source, Joined):
            joined = (source.joined.join(filter(None, row)) for row in zip(*columns, strict=True))
            return [text or None for text in joined]
        if len(columns) == 1:
            return columns[0]
        return [next(filter(None, row), None) for row in zip(*columns, strict=True)] if columns else self._nothing()

    def _nothing(self) -> Texts:
        return [None] * len(self.rows)

    @cached_property
    def keys(self) -> Texts:
        """The key of each row's record; None where the row says none."""
        return self.values(self.profile.fields[self.profile.key])

    # Problems.

    def judge(self) -> None:
        """Find the cells that break a row; the first of a row counts."""
        for at, source in self.profile.sources():
            if self._inside_each(at) or isinstance(source, Const):
                continue
            for column in self.found(names_of(source)):
                self._judge_values(at, column)
                if at in CODES:
                    self._judge_codes(at, column)
                elif at in AMOUNTS:
                    self._judge_amounts(at, column)
        if self.profile.replaces and self.profile.replaces.columns:
            for name in self.profile.replaces.columns:
                column = self.columns[name_key(name)]
                for row, text in enumerate(self.texts(column)):
                    if text is None and self.keys[row]:
                        self._note(row, Problem(column, "replaces", "missing_slice", f"thiếu “{name}”"))

    def _inside_each(self, at: str) -> bool:
        name, dot, _ = at.partition(".")
        return bool(dot) and self.profile.lists[name].each is not None

    def _note(self, row: int, problem: Problem) -> None:
        self.problems.setdefault(row, problem)

    def _judge_values(self, at: str, column: int) -> None:
        values = self.raw(column)
        if {*map(type, values)} <= {str, type(None)} and _ERRORS.isdisjoint(values):
            return
        for row, value in enumerate(values):
            if value is FORMULA:
                self._note(row, Problem(column, at, "no_result", "công thức chưa có kết quả; hãy mở, tính và lưu lại"))
            elif value.__class__ is str and value in _ERRORS:
                self._note(row, Problem(column, at, "cell_error", "ô báo lỗi của bảng tính"))
            elif isinstance(value, list | dict) and not is_presence(at):
                self._note(row, Problem(column, at, "not_single", "không phải một giá trị"))

    def _judge_codes(self, at: str, column: int) -> None:
        pattern = re.compile(self.profile.patterns[at]) if at in self.profile.patterns else None
        is_number = at in self.profile.numeric
        texts = self.texts(column)
        for row, value in enumerate(self.raw(column)):
            wrong = spoilt(value, texts[row], is_number=is_number)
            if wrong:
                self._note(row, Problem(column, at, "spoilt_code", wrong))
            elif pattern and texts[row] and not pattern.fullmatch(texts[row] or ""):
                told = "không đúng mẫu mã của hồ sơ nguồn (mất số 0, hoặc lệch cột)"
                self._note(row, Problem(column, at, "unlike_pattern", told))

    def _judge_amounts(self, at: str, column: int) -> None:
        texts = self.texts(column)
        for row, value in enumerate(self.raw(column)):
            if value.__class__ is not str or texts[row] is None:
                continue
            texts[row] = self._amount(row, at, texts[row] or "", column)

    def _amount(self, row: int, at: str, text: str, column: int) -> str | None:
        """An amount as plain digits, whatever stands between its thousands."""
        try:
            said = count_of(Cell(_CURRENCY.sub("", text)))
        except UnreadableCellError:
            self._note(row, Problem(column, at, "not_amount", "không phải số tiền nguyên (ghi 50000 hoặc 50.000)"))
            return None
        return None if said is None else str(said)

    # Records.

    def mapped(self) -> Mapped:
        self.judge()
        self._judge_dates()
        starts, record_of, unnamed, skipped = self._grouped()
        records = self._records(starts, record_of)
        broken = [self._broken(row, problem) for row, problem in sorted(self.problems.items())]
        bad = {record for row in self.problems if (record := record_of[row]) is not None}
        judged = self._by_contract(records, bad)
        broken += [self._broken(starts[record], problem) for record, problem in judged]
        bad |= {record for record, _ in judged}
        kept = pa.array([at not in bad for at in range(len(starts))], pa.bool_())
        named = [self.keys[row] for row in starts]
        return Mapped(records.filter(kept), named, tuple(broken), unnamed, skipped)

    def _grouped(self) -> tuple[list[int], list[int | None], int, int]:
        """First rows of the records, the record of each row, and how many rows belong to none."""
        starts: list[int] = []
        record_of: list[int | None] = []
        unnamed = skipped = 0
        last: str | None = None
        for row, key in enumerate(self.keys):
            problem = self.problems.get(row)
            if key and not (problem and problem.field == self.profile.key):
                if not (self.mapper.is_grouped and key == last):
                    self._close(row, key, last)
                    starts.append(row)
                last = key
                record_of.append(len(starts) - 1)
                continue
            if self.mapper.is_grouped and key is None and problem is None and starts and self._is_item(row):
                record_of.append(len(starts) - 1)
                continue
            record_of.append(None)
            if problem is None and self._said(row) <= _FOOTER_CELLS:
                skipped += 1
                continue
            unnamed += 1
            column = next(iter(self.found(names_of(self.profile.fields[self.profile.key]))), -1)
            self._note(row, Problem(column, self.profile.key, "missing_key", "thiếu mã bản ghi"))
        return starts, record_of, unnamed, skipped

    def _close(self, row: int, key: str, last: str | None) -> None:
        if not self.mapper.is_grouped:
            return
        if last is not None:
            self.mapper._closed.add(last)  # noqa: SLF001  the mapper's own batch
        if key in self.mapper._closed:  # noqa: SLF001
            told = "các dòng của một hồ sơ không liền nhau; hãy sắp xếp theo mã hồ sơ"
            self._note(row, Problem(-1, self.profile.key, "not_together", told))

    def _is_item(self, row: int) -> bool:
        fields = [source for at, source in self.profile.sources() if "." in at and not isinstance(source, Const)]
        return any(self.values(source)[row] for source in fields)

    def _said(self, row: int) -> int:
        return sum(1 for column in set(self.columns.values()) if self.texts(column)[row])

    def _broken(self, row: int, problem: Problem) -> Broken:
        table, number = self.mapper.table, self.rows[row].number
        place = table.row(number) if problem.column < 0 else table.cell(number, problem.column)
        key = self.keys[row]
        # A record that can be named is closed in quarantine as soon as it is stored after all.
        is_named = bool(key) and problem.field not in (self.profile.key, "row")
        return Broken(
            where=f"{self.mapper.system}:{key}" if is_named else place,
            reason=problem.reason,
            clause=problem.field,
            detail=f"{place}: {problem.text}",
            content_hash=hashlib.md5(f"{self.mapper.digest} {place}".encode(), usedforsecurity=False).hexdigest(),
            dossier_code=self._code(row) if problem.field not in ("dossier_code", "row") else None,
        )

    def _code(self, row: int) -> str | None:
        source = self.profile.fields.get("dossier_code")
        return None if source is None else self.values(source)[row]

    def _records(self, starts: list[int], record_of: Sequence[int | None]) -> pa.Table:
        arrays: dict[str, pa.Array] = {}
        for name, source in self.profile.fields.items():
            values = self._presences(source) if is_presence(name) else self.values(source)
            arrays[name] = pa.array([values[row] for row in starts], SCHEMA.field(name).type)
        if "record_id" not in arrays:
            arrays["record_id"] = arrays[self.profile.key]
        for name, items in self.profile.lists.items():
            build = self._each if items.each else self._items
            arrays[name] = build(name, items, starts, record_of)
        arrays["slice"] = pa.array([self._slice(row) for row in starts], pa.string())
        arrays["position"] = pa.array([f"{self.rows[row].number:09d}" for row in starts], pa.string())
        nothing = {item.name: pa.nulls(len(starts), item.type) for item in SCHEMA_OF_FILES}
        return pa.table(nothing | arrays, schema=SCHEMA_OF_FILES)

    def _presences(self, source: Source) -> list[bool]:
        if isinstance(source, Const):
            return [is_there(source.const)] * len(self.rows)
        columns = [self.raw(at) for at in self.found(names_of(source))]
        return [any(map(is_there, row)) for row in zip(*columns, strict=True)] if columns else [False] * len(self.rows)

    def _slice(self, row: int) -> str | None:
        replaces = self.profile.replaces
        if replaces is None or replaces.name is not None:
            return self.mapper.slice_
        return slice_name(self.texts(self.columns[name_key(name)])[row] for name in replaces.columns)

    def _items(self, name: str, items: Items, starts: list[int], record_of: Sequence[int | None]) -> pa.Array:
        """The rows of a record as items of its list: those in which a column of the list says something."""
        fields: dict[str, list[Any]] = {
            item: self._presences(source) if is_presence(item) else list(self.values(source))
            for item, source in items.fields.items()
        }
        said = [item for item, source in items.fields.items() if not isinstance(source, Const)]
        counts = [0] * len(starts)
        kept: list[int] = []
        for row, record in enumerate(record_of):
            if record is not None and any(fields[item][row] for item in said):
                counts[record] += 1
                kept.append(row)
        return lists(name, {item: [values[row] for row in kept] for item, values in fields.items()}, counts)

    def _each(self, name: str, items: Items, starts: list[int], record_of: Sequence[int | None]) -> pa.Array:  # noqa: ARG002
        """The objects of a JSON list as items; codes among them are held to the same rules."""
        from connectors.files_objects import field_of  # noqa: PLC0415  JSON alone has lists in a cell

        column = self.found((items.each or "",))
        cells = self.raw(column[0]) if column else self._nothing()
        counts: list[int | None] = []
        owners: list[int] = []
        columns: dict[str, list[Any]] = {item: [] for item in items.fields}
        for row in starts:
            cell: Any = cells[row]
            found = cell if isinstance(cell, list) else [cell]
            objects = [one for one in found if isinstance(one, Mapping)]
            counts.append(len(objects))
            owners += [row] * len(objects)
            for item, source in items.fields.items():
                for one in objects:
                    said = [field_of(one, tuple(name_key(each).split("."))) for each in names_of(source)]
                    columns[item].append(self._item(row, f"{name}.{item}", source, said, column))
        for item in sorted(_LIST_DATES & set(columns)):
            for index in self._unreadable(columns[item]):
                told = "không đúng định dạng ngày của hồ sơ nguồn"
                self._note(owners[index], Problem(column[0], f"{name}.{item}", "unreadable_date", told))
        return lists(name, columns, counts)

    def _unreadable(self, texts: Sequence[str | None]) -> list[int]:
        listed = pa.table({"text": pa.array(texts, pa.string())})
        unread = f"text IS NOT NULL AND {instant_sql('text', self.profile)} IS NULL"
        return [at for at, _ in self.mapper.where(listed, f"CASE WHEN {unread} THEN 1 END")]

    def _item(self, row: int, at: str, source: Source, said: Sequence[Any], column: Sequence[int]) -> Any:
        if is_presence(at):
            return any(map(is_there, said)) or (isinstance(source, Const) and is_there(source.const))
        if isinstance(source, Const):
            return str(source.const)
        texts = [text.strip() for value in said if not isinstance(value, list | dict) and (text := text_of(value))]
        wrong = next(filter(None, (spoilt(v, text_of(v), is_number=at in self.profile.numeric) for v in said)), None)
        if at in CODES and wrong:
            self._note(row, Problem(column[0] if column else -1, at, "spoilt_code", wrong))
        if not texts:
            return None
        if at in AMOUNTS and isinstance(next(value for value in said if value is not None), str):
            return self._amount(row, at, texts[0], column[0] if column else -1)
        return source.joined.join(texts) if isinstance(source, Joined) else texts[0]

    # The contract.

    def _judge_dates(self) -> None:
        """Dates in lists, of which the contract has no clause: unreadable ones would be lost in silence."""
        wanted = {
            at: source
            for at, source in self.profile.sources()
            if at.rpartition(".")[2] in _LIST_DATES and "." in at and not self._inside_each(at)
        }
        for at, source in wanted.items():
            for row in self._unreadable(self.values(source)):
                place = next(iter(self.found(names_of(source))), -1)
                self._note(row, Problem(place, at, "unreadable_date", "không đúng định dạng ngày của hồ sơ nguồn"))

    def _by_contract(self, records: pa.Table, bad: set[int]) -> list[tuple[int, Problem]]:
        """Records that break a clause, so that the cell is told; the store would know only the record."""
        clauses = self.mapper.contract.clauses
        tests = (f"WHEN NOT coalesce({each.predicate}, false) THEN {at}" for at, each in enumerate(clauses))
        found: list[tuple[int, Problem]] = []
        for record, number in self.mapper.where(records, f"CASE {' '.join(tests)} END"):
            if record not in bad:
                clause = clauses[number]
                column = next(iter(self._columns_of(clause)), -1)
                found.append((record, Problem(column, ", ".join(clause.fields), clause.name, clause.vi)))
        return found

    def _columns_of(self, clause: Clause) -> list[int]:
        known = dict(self.profile.sources())
        sources = [known[name] for name in clause.fields if name in known]
        return [column for source in sources for column in self.found(names_of(source))]


def spoilt(value: Any, text: str | None, *, is_number: bool) -> str | None:
    """What became of a code in a spreadsheet, or None where nothing did; `is_number`: the code is a plain number."""
    if value is None or text is None:
        return None
    if value.__class__ is str:
        return _WRITTEN_AS_NUMBER if _SPOILT.fullmatch(text) else None
    if isinstance(value, date | time):
        return "mã đã bị đổi thành ngày tháng; hãy định dạng cột là văn bản (Text) và nhập lại"
    if isinstance(value, int | float | Decimal):
        if isinstance(value, bool) or not is_number:
            return "mã lưu thành số, có thể đã mất số 0; hãy định dạng cột là văn bản (Text) và nhập lại"
        number: Any = value
        if abs(number) >= _EXACT or number != int(number):
            return "số quá dài hoặc có phần lẻ, bảng tính không giữ đủ chữ số"
    return None
