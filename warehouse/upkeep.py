"""Upkeep of the lake: which nights stay readable, small files into large ones, and what nobody needs any more removed.

Belongs here: the rule of what is kept, and carrying it out on any lake, folder or bucket. Does not belong here: when
it runs (`orchestration/upkeep.py`), publications, Dagster's own history.

What is kept (docs/decisions/0021-upkeep-and-retention.md): every night of the last days; for each month of
Vietnam the last night that knew nothing beyond it and the first that knew all of it, which are the two that a
question about a past period is answered from (so also the first night of all, which reported the months before
it); nights whose publication still stands. A table is then kept at the
versions those nights ended with, and at its newest one. Files that were only just replaced stay some hours more,
for readers who resolved their list of files before.

Whoever calls this is the only one who changes the lake meanwhile. Killed anywhere, the next time ends the same.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from deltalake import CommitProperties, DeltaTable
from deltalake.exceptions import DeltaError

from warehouse import durable, objects
from warehouse.database import Database, PastNight
from warehouse.lake import KEEP_LOG, WRITER, Lake

VIETNAM = ZoneInfo("Asia/Ho_Chi_Minh")
_CHECKPOINT = re.compile(r"(\d{20})\.checkpoint\.parquet")
_ENTRY = re.compile(r"(\d{20})\.(?:json|checkpoint\.parquet)")
#: What a killed writer had begun: deltalake puts "#" and a number behind a file's name until it is whole.
_HALF_WRITTEN = re.compile(r".*#\d+")
_DECEMBER = 12


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How much of the past is kept.

    `days`: every night that ended within so many days stays readable. `grace`: a file that is no longer part of any
    kept version is removed so long after it was replaced or written. `target_size`: bytes that small files are
    brought together to; fewer than `small_files` of them are left alone.
    """

    days: int = 90
    grace: timedelta = timedelta(hours=48)
    target_size: int = 128 * 1024 * 1024
    small_files: int = 8

    def __post_init__(self) -> None:
        if self.days < 1 or self.grace < timedelta(0):
            raise ValueError(f"upkeep keeps at least one day and no negative grace, not {self.days} and {self.grace}")


@dataclass(frozen=True, kw_only=True)
class TableUpkeep:
    """What was (or, on a dry run, would be) done to one table."""

    name: str
    kept_versions: int
    compacted_files: int
    removed_files: int
    removed_bytes: int
    removed_log_entries: int


@dataclass(frozen=True, kw_only=True)
class UpkeepReport:
    """What came of an upkeep: nights kept and let go, and the tables."""

    kept_nights: int
    cleared_nights: Sequence[str]
    tables: Sequence[TableUpkeep]


def kept_nights(
    nights: Sequence[PastNight], *, now: datetime, days: int, published: Collection[str] = ()
) -> list[PastNight]:
    """Those of `nights` (in order of what they knew) that stay readable; `published` names nights to keep besides.

    Example: of daily nights over two years with `days=90`: the last ninety, the first, and one per earlier month (the
    night that knew exactly the month).
    """
    kept = {index for index, night in enumerate(nights) if night.ended_at >= now - timedelta(days=days)}
    kept |= {index for index, night in enumerate(nights) if night.night in published}
    if nights:
        kept.add(len(nights) - 1)
        # Of nights that knew equally much, a day is answered from the last, a period from the first.
        known = [night.as_of for night in nights]
        for end in _month_ends(known[0], known[-1]):
            last_before, first_after = bisect_right(known, end) - 1, bisect_left(known, end)
            kept |= {index for index in (last_before, first_after) if 0 <= index < len(nights)}
    return [nights[index] for index in sorted(kept)]


def _month_ends(first: datetime, last: datetime) -> list[datetime]:
    """The instants at which a month ends in Vietnam, from the start of the month of `first` to beyond `last`."""
    day = first.astimezone(VIETNAM).date().replace(day=1)
    ends = [datetime.combine(day, time(), VIETNAM)]
    while ends[-1] <= last:
        day = date(day.year + day.month // _DECEMBER, day.month % _DECEMBER + 1, 1)
        ends.append(datetime.combine(day, time(), VIETNAM))
    return ends


def upkeep(
    lake: Lake,
    database: Database,
    policy: Policy,
    *,
    now: datetime,
    published: Collection[str] = (),
    is_dry: bool = False,
    on_table: Callable[[TableUpkeep], None] | None = None,
) -> UpkeepReport:
    """Bring every table of `lake` into order and remove what no kept night and no reader of the last hours needs.

    `published` names the nights whose publication stands. With `is_dry` nothing is changed, and what would be is said
    (compaction then counts the small files only). Raises what deltalake raises for a table that is damaged.
    """
    nights = database.past_nights()
    kept = kept_nights(nights, now=now, days=policy.days, published=published)
    cleared = sorted({night.night for night in nights} - {night.night for night in kept})
    if not is_dry:
        database.clear_nights(cleared)
    recent = {night.night for night in kept if night.ended_at >= now - timedelta(days=policy.days)}
    tables = []
    for name in lake.names():
        remembered = {night.night: night.lake_versions.get(name, -1) for night in kept}
        done = _tend(lake, name, remembered, recent=recent, policy=policy, now=now, is_dry=is_dry)
        tables.append(done)
        if on_table:
            on_table(done)
    return UpkeepReport(kept_nights=len(kept), cleared_nights=cleared, tables=tables)


def _tend(
    lake: Lake,
    name: str,
    remembered: Mapping[str, int],
    *,
    recent: Collection[str],
    policy: Policy,
    now: datetime,
    is_dry: bool,
) -> TableUpkeep:
    opened = lake.open_named(name)
    if opened is None:  # a first commit that was killed before it had a log entry
        return TableUpkeep(
            name=name, kept_versions=0, compacted_files=0, removed_files=0, removed_bytes=0, removed_log_entries=0
        )
    newest = opened.version()
    # A version that is ahead of the table is a lake that was restored: verify names it, upkeep has nothing to keep.
    known = {version for version in remembered.values() if 0 <= version <= newest}
    kept = sorted(version for version in known if _is_there(lake, name, version))
    compacted = _compact(lake, name, policy, is_dry=is_dry)
    sizes = {file: found.size or 0 for file, found in lake.store().sizes(name).items()}
    # Vacuum names files of old log entries again that it removed long ago.
    vacuumed = {file for file in _vacuum(lake, name, kept, policy, is_dry=is_dry) if f"{name}/{file}" in sizes}
    removed = vacuumed | _half_written(lake, name, policy, now, is_dry=is_dry)
    floor = min((version for night, version in remembered.items() if night in recent and version >= 0), default=newest)
    entries = _shorten_log(lake, name, kept, floor=floor, is_dry=is_dry)
    if not is_dry:
        _gather(lake, name)
    return TableUpkeep(
        name=name,
        kept_versions=len({*kept, newest}),
        compacted_files=compacted,
        removed_files=len(removed),
        removed_bytes=sum(sizes[f"{name}/{file}"] for file in removed),
        removed_log_entries=entries,
    )


def _is_there(lake: Lake, name: str, version: int) -> bool:
    try:
        return lake.open_named(name, version=version) is not None
    except DeltaError:
        return False


def _compact(lake: Lake, name: str, policy: Policy, *, is_dry: bool) -> int:
    """Bring small files together, partition by partition; how many there were. Rows keep their order within a file."""
    opened = _opened(lake, name)
    sizes = opened.get_add_actions(flatten=True)["size_bytes"].to_pylist()
    small = len([size for size in sizes if size < policy.target_size // 2])
    partitions = opened.metadata().partition_columns
    # A file per month is as few as there can be: only what is beyond that is worth a commit.
    folders = (
        len(set(opened.get_add_actions(flatten=True)[f"partition.{partitions[0]}"].to_pylist())) if partitions else 1
    )
    if small - folders < policy.small_files:
        return 0
    if not is_dry:
        before = opened.version()
        opened.optimize.compact(
            target_size=policy.target_size,
            writer_properties=WRITER,
            commit_properties=CommitProperties(custom_metadata={"upkeep": "compact"}),
            post_commithook_properties=KEEP_LOG,
        )
        lake.secure(name, after=before)
    return small


def _vacuum(lake: Lake, name: str, kept: Sequence[int], policy: Policy, *, is_dry: bool) -> set[str]:
    """Remove files that belong to no kept version and were replaced (or written by a killed night) before the grace."""
    opened = _opened(lake, name)
    before = opened.version()
    gone = opened.vacuum(
        retention_hours=int(policy.grace.total_seconds() // 3600),
        enforce_retention_duration=False,
        dry_run=is_dry,
        full=True,
        keep_versions=list(kept),
        post_commithook_properties=KEEP_LOG,
    )
    if not is_dry:
        lake.secure(name, after=before)
    return set(gone)


def _half_written(lake: Lake, name: str, policy: Policy, now: datetime, *, is_dry: bool) -> set[str]:
    """Remove what a killed writer had begun; only a folder has such files, and vacuum does not see them."""
    if objects.is_remote(lake.root):
        return set()
    store = lake.store()
    old = {
        file
        for file, found in store.sizes(name).items()
        if _HALF_WRITTEN.fullmatch(file) and found.mtime.astimezone(UTC) < now - policy.grace
    }
    if not is_dry:
        for file in old:
            store.delete(file)
    return {file.removeprefix(f"{name}/") for file in old}


def _shorten_log(lake: Lake, name: str, kept: Sequence[int], *, floor: int, is_dry: bool) -> int:
    """Remove log entries before version `floor`, except those that a kept version is read from; how many.

    A version is read from the newest checkpoint up to it and the entries between. With a checkpoint at each kept
    version and at `floor`, nothing between them is needed.
    """
    store, log = lake.store(), f"{name}/{durable.LOG}"
    wanted = {*(version for version in kept if version < floor), floor}
    present = [file.removeprefix(f"{log}/") for file in store.sizes(log, is_deep=False)]
    checkpoints = {int(found[1]) for file in present if (found := _CHECKPOINT.fullmatch(file))}
    versions = {file: int(found[1]) for file in present if (found := _ENTRY.fullmatch(file))}
    old = sorted(file for file, version in versions.items() if version < floor and version not in wanted)
    if old and not is_dry:
        for version in sorted(wanted - checkpoints):
            _opened(lake, name, version).create_checkpoint()
        newest = _opened(lake, name)
        newest.create_checkpoint()
        # Whoever reads now finds the checkpoints before the entries go; synced, so that a power cut does too.
        _sync_log(lake, name, {*wanted, newest.version()})
        # Their checksums first: an entry that is missing while its checksum stands is damage.
        _gather(lake, name, without={f"{durable.LOG}/{file}" for file in old})
        for file in old:
            store.delete(f"{log}/{file}")
    return len(old)


def _sync_log(lake: Lake, name: str, versions: Collection[int]) -> None:
    root = objects.local_path(lake.root)
    if root is not None:
        durable.sync_log(root / name, versions)


def _gather(lake: Lake, name: str, *, without: Collection[str] = ()) -> None:
    root = objects.local_path(lake.root)
    if root is not None:
        present = {file.removeprefix(f"{name}/") for file in lake.store().sizes(name)}
        durable.gather_checksums(root / name, present.difference(without))


def _opened(lake: Lake, name: str, version: int | None = None) -> DeltaTable:
    opened = lake.open_named(name, version=version)
    if opened is None:
        raise LookupError(f"{lake.root}/{name}: version {version} is gone")
    return opened
