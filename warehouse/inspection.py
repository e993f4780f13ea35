"""Reading the whole lake and the database again, and saying what is damaged.

Belongs here: every current file of every table against its checksum, its log and itself; the versions of kept
nights; the database and its cursors. Does not belong here: publications (`assets.publications.manifest`), repair.

What an operator reads says which file of which table, in Vietnamese, with what to do.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from warehouse import durable, objects
from warehouse.database import Database, cursor_table
from warehouse.lake import Lake

_RESTORE = "khôi phục tệp này từ bản sao lưu · restore it from a backup"
_LOG = "khôi phục thư mục _delta_log của bảng từ bản sao lưu · restore the table's log from a backup"
_LIMIT = 3


@dataclass(frozen=True)
class Damage:
    """One thing that is not as it was written: where (a file, a table, the database) and what."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


def inspect_lake(lake: Lake, *, on_table: Callable[[str, int], None] | None = None) -> Iterator[Damage]:
    """Read every current file of every table; `on_table` hears each table's name and rows when it is done."""
    tables = set(lake.names())
    for name in lake.store().folders():
        if name not in tables:
            yield Damage(f"bảng {name}", f"không còn nhật ký (_delta_log); {_LOG}")
            continue
        try:
            opened = lake.open_named(name)
        except (DeltaError, OSError) as error:
            yield Damage(f"bảng {name}", f"nhật ký không đọc được ({_first_line(error)}); {_LOG}")
            continue
        if opened is None:
            yield Damage(f"bảng {name}", f"có thư mục _delta_log nhưng không có nhật ký; {_LOG}")
            continue
        sums, problem = _checksums(lake, name)
        if problem:
            yield problem
        yield from _log_problems(lake, name, opened, sums)
        yield from _files(lake, name, opened, sums)
        if on_table:
            on_table(name, sum(_said_rows(opened).values()))


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _log_problems(lake: Lake, name: str, opened: DeltaTable, sums: Mapping[str, str]) -> Iterator[Damage]:
    """Log entries that differ from what was written, or are missing although upkeep would not have removed them.

    Delta notices neither an empty entry nor that the newest one is gone.
    """
    store, where = lake.store(), f"bảng {name}"
    present = set(store.sizes(f"{name}/{durable.LOG}", is_deep=False))
    for entry, expected in sorted(sums.items()):
        if not entry.startswith(durable.LOG):
            continue
        if f"{name}/{entry}" not in present:
            yield Damage(where, f"nhật ký thiếu tệp {entry} (đọc được đến phiên bản {opened.version()}); {_LOG}")
        elif durable.file_sha256(Path(store.path(f"{name}/{entry}"))) != expected:
            yield Damage(where, f"tệp {entry} của nhật ký khác lúc ghi; {_LOG}")
    names = [file.rsplit("/", 1)[-1] for file in present]
    entries = {int(file[:20]) for file in names if file[20:] == ".json"}
    checkpoints = {int(file[:20]) for file in names if file[20:] == durable.CHECKPOINT}
    # Upkeep leaves gaps too, and always a checkpoint at what follows one.
    for version in sorted(entries - checkpoints):
        entry = f"{durable.LOG}/{version - 1:020}.json"
        if version and version - 1 not in entries and entry not in sums:
            yield Damage(where, f"nhật ký thiếu tệp {entry}; {_LOG}")


def _said_rows(opened: DeltaTable) -> Mapping[str, int]:
    """Rows of each current file as the log says."""
    actions = opened.get_add_actions(flatten=True)
    counted = zip(actions["path"].to_pylist(), actions["num_records"].to_pylist(), strict=True)
    return {unquote(path): rows or 0 for path, rows in counted}


def _checksums(lake: Lake, name: str) -> tuple[Mapping[str, str], Damage | None]:
    """What was noted when files were written; nothing for a bucket, which keeps its own."""
    root = objects.local_path(lake.root)
    try:
        return {} if root is None else durable.checksums(root / name), None
    except ValueError as error:
        return {}, Damage(f"bảng {name}", f"tệp mã kiểm không đọc được ({error}); xoá tệp đó · delete that file")


def _files(lake: Lake, name: str, opened: DeltaTable, sums: Mapping[str, str]) -> Iterator[Damage]:
    store = lake.store()
    for file, rows in sorted(_said_rows(opened).items()):
        where = f"bảng {name}, tệp {file}"
        if (expected := sums.get(file)) is not None:
            try:
                found = durable.file_sha256(Path(store.path(f"{name}/{file}")))
            except FileNotFoundError:
                yield Damage(where, f"không còn; {_RESTORE}")
                continue
            if found != expected:
                yield Damage(where, f"SHA-256 {found[:12]}…, lúc ghi là {expected[:12]}…; {_RESTORE}")
                continue
        if problem := _unreadable(store, f"{name}/{file}", rows):
            yield Damage(where, f"{problem}; {_RESTORE}")


def _unreadable(store: objects.Store, file: str, rows: int) -> str | None:
    """Read every value of a Parquet file; what is wrong with it, or None."""
    counted = 0
    try:
        with store.filesystem.open_input_file(store.path(file)) as stream, pq.ParquetFile(stream) as opened:
            for batch in opened.iter_batches():
                counted += batch.num_rows
    except FileNotFoundError:
        return "không còn"
    except (pa.ArrowException, OSError, ValueError) as error:
        return f"không đọc được ({_first_line(error)})"
    return None if counted == rows else f"{counted} dòng, nhật ký ghi {rows}"


def inspect_nights(lake: Lake, database: Database) -> Iterator[Damage]:
    """Whether every night that was not let go can still be read: each table's version, and each of its files."""
    present = {f"{lake.store().root}/{file}" for file in lake.store().sizes()}
    known: dict[tuple[str, int], str | None] = {}
    for night in database.past_nights():
        for name, version in sorted(night.lake_versions.items()):
            if version < 0:
                continue
            if (name, version) not in known:
                known[name, version] = _gone(lake, name, version, present)
            if problem := known[name, version]:
                yield Damage(
                    f"đêm {night.night} ({night.as_of:%d/%m/%Y}), bảng {name} phiên bản {version}",
                    f"{problem}; không trả lời được câu hỏi về đêm này · that night can no longer be asked about",
                )


def _gone(lake: Lake, name: str, version: int, present: set[str]) -> str | None:
    try:
        opened = lake.open_named(name, version=version)
    except (DeltaError, OSError) as error:
        return f"nhật ký không đọc được ({_first_line(error)})"
    if opened is None:
        return "nhật ký không còn"
    base = f"{lake.store().root}/{name}/"
    missing = sorted(file for file in _said_rows(opened) if base + file not in present)
    if missing:
        return f"thiếu {len(missing)} tệp ({', '.join(missing[:_LIMIT])})"
    return None


def inspect_database(lake: Lake, database: Database, tables: Mapping[str, Collection[str]]) -> Iterator[Damage]:
    """The database's own integrity, and cursors that count more as stored than the lake holds.

    `tables` says by source which tables its cursors are safe for; the version is the sum of theirs.
    """
    where = f"cơ sở dữ liệu {database.engine.url.render_as_string(hide_password=True)}"
    try:
        with database.engine.connect() as connection:
            if database.engine.dialect.name == "sqlite":
                answers = connection.execute(sa.text("PRAGMA integrity_check(10)")).scalars().all()
                yield from (Damage(where, f"{answer}; {_RESTORE}") for answer in answers if answer != "ok")
            cursors = connection.execute(sa.select(cursor_table)).all()
    except sa.exc.DBAPIError as error:
        yield Damage(where, f"không đọc được ({_first_line(error.orig or error)}); {_RESTORE}")
        return
    for cursor in cursors:
        if cursor.source in tables:
            held = sum(_version(lake, name) for name in tables[cursor.source])
            if held < cursor.lake_version:
                yield Damage(
                    f"con trỏ {cursor.source}/{cursor.stream}",
                    f"đã tính đến phiên bản {cursor.lake_version}, kho chỉ có {held}: kho bị lùi lại, đọc tiếp sẽ mất "
                    "bản ghi. Khôi phục kho và cơ sở dữ liệu cùng một thời điểm, hoặc xoá dòng này trong source_cursor "
                    "để đọc lại từ đầu · the lake is older than the cursor",
                )


def _version(lake: Lake, name: str) -> int:
    """Newest version of a table; -1 when there is none, or its log cannot be read (which is damage of its own)."""
    try:
        opened = lake.open_named(name)
    except (DeltaError, OSError):
        return -1
    return -1 if opened is None else opened.version()
