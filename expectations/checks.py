"""Dagster asset checks, made from suites and targets.

Belongs here: the factories and the pure functions that make a check's metadata. Does not belong
here: what must hold (`expectations/suites/`, `expectations/targets/`), how it is evaluated
(`expectations/gx.py`), or when it runs (`orchestration`).

A suite gives one check per group. A group with a critical expectation blocks what comes after it;
when only warnings fail, Dagster shows the check as a warning and goes on. A target gives one check
that warns and never blocks: a target missed is news, not a broken night. An exception inside a check
stays an exception: a crash says nothing of the data.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import dagster as dg
import pyarrow as pa

from expectations.gx import CheckCrashedError, ExpectationResult, Source, SuiteResult, check, check_schema, from_lake
from expectations.suites import Expectation, Suite
from expectations.targets import Target
from expectations.wording import LEVEL_VI, count_vi, sentence
from warehouse.lake import Lake
from warehouse.schema import Table
from warehouse.tables import OUT_VERDICT

RESOURCE = "stores"
GROUP_VI = {
    "schema": "Tên và kiểu cột đúng như khai báo",
    "keys": "Khóa đầy đủ và không trùng",
    "domains": "Giá trị nằm trong miền cho phép",
    "identities": "Các con số khớp nhau",
}


class Stores(Protocol):
    """What a check needs of the resource `stores`."""

    def lake(self) -> Lake:
        """The lake that holds the tables."""
        ...


#: Where a suite's data comes from; the default is the lake's newest versions.
Load = Callable[[Stores, Suite], Source]


def from_stores(stores: Stores, suite: Suite) -> Source:
    """The suite's tables as the lake holds them now."""
    return from_lake(stores.lake(), suite)


def checks_for(
    asset_key: str, table: Table, suite: Suite, *, load: Load = from_stores
) -> list[dg.AssetChecksDefinition]:
    """One asset check per group of `suite`, named as the group; groups with a critical entry block.

    All checks of a table are made in one step, since a step of its own costs a third of a second each.
    """
    if suite.table.name != table.name:
        raise ValueError(f"the suite is of {suite.table.name}, the asset's table is {table.name}")
    return [_table_check(asset_key, suite, load)]


def target_checks(
    asset_key: str, targets: Sequence[Target], *, load: Load = from_stores
) -> list[dg.AssetChecksDefinition]:
    """One check per target id on the asset of out_verdict, named like `target_DL_D1`; never blocking.

    All of them are made in one step: a step of its own costs half a second, and there are fifty.
    """
    by_id: dict[str, list[Target]] = {}
    for target in targets:
        by_id.setdefault(target.target, []).append(target)
    return [_targets_check(asset_key, list(by_id.values()), load)] if by_id else []


def target_check_name(target: str) -> str:
    """The name of a target's check: "DL-A3-P" is "target_DL_A3_P"."""
    return "target_" + target.replace("-", "_")


def _table_check(asset_key: str, suite: Suite, load: Load) -> dg.AssetChecksDefinition:
    groups = {name: suite.group(name) for name in suite.groups if name != "schema"}
    schema = dg.AssetCheckSpec(
        "schema", asset=asset_key, blocking=True, description=f"{GROUP_VI['schema']} ({suite.table.vi})"
    )
    specs = [
        dg.AssetCheckSpec(
            name, asset=asset_key, blocking=group.is_integrity, description=group_description(name, group.expectations)
        )
        for name, group in groups.items()
    ]

    @dg.multi_asset_check(name=f"{asset_key}_checks", specs=[schema, *specs], required_resource_keys={RESOURCE})
    def check_table(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        stores = context.resources.stores
        source = load(stores, suite)
        result, differing = check_schema(source, suite.table)
        yield _result("schema", result, schema_metadata(differing))
        for name, found in _judged(source, suite, groups, lambda group: load(stores, group)):
            yield _result(name, found, suite_metadata(found))

    return check_table


def _judged(
    source: Source, suite: Suite, groups: Mapping[str, Suite], load: Callable[[Suite], Source]
) -> Iterator[tuple[str, SuiteResult]]:
    """What came of each group, all judged in one go; where that crashes, group by group up to the crash."""
    try:
        whole = check(source, suite)
    except CheckCrashedError:
        for name, group in groups.items():
            # A connection of its own: the one before may still hold a stream that was not read to its end.
            yield name, check(load(group), group)
    else:
        yield from ((name, whole.group(name)) for name in groups)


def _targets_check(asset_key: str, targets: Sequence[Sequence[Target]], load: Load) -> dg.AssetChecksDefinition:
    suite = Suite(table=OUT_VERDICT, expectations=())

    @dg.multi_asset_check(
        name="targets",
        specs=[
            dg.AssetCheckSpec(
                target_check_name(rows[0].target), asset=asset_key, description=target_description(rows), blocking=False
            )
            for rows in targets
        ],
        required_resource_keys={RESOURCE},
    )
    def check_targets(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        latest = latest_verdicts(load(context.resources.stores, suite))
        for rows in targets:
            verdicts = latest.get(rows[0].target, [])
            yield dg.AssetCheckResult(
                check_name=target_check_name(rows[0].target),
                passed=is_quiet(verdicts),
                severity=dg.AssetCheckSeverity.WARN,
                description=target_sentences(verdicts, counted=rows[0].counted),
                metadata=target_metadata(verdicts),
            )

    return check_targets


def _result(name: str, result: SuiteResult, metadata: Mapping[str, Any]) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=name,
        passed=result.success,
        severity=dg.AssetCheckSeverity.WARN if result.is_fit else dg.AssetCheckSeverity.ERROR,
        description=result_sentence(result),
        metadata=metadata,
    )


def group_description(name: str, expectations: Iterable[Expectation]) -> str:
    """What a group asks for, for the UI: its meaning, then one line per expectation."""
    lines = [f"- {each.vi}" for each in expectations]
    return "\n".join([GROUP_VI[name], *lines])


def result_sentence(result: SuiteResult) -> str:
    """What came of a group in Vietnamese: what failed with how many rows, or how much holds."""
    if result.success:
        return f"{len(result.results)} điều kiện đều đúng"
    return "; ".join(f"{each.expectation.vi}: {count_vi(each.unexpected)} dòng sai" for each in result.failed)


def suite_metadata(result: SuiteResult) -> dict[str, dg.MetadataValue]:
    """Counts that the UI plots, and a table of what failed; never a cell value or a key."""
    metadata: dict[str, dg.MetadataValue] = {
        "expectations": dg.MetadataValue.int(len(result.results)),
        "failed": dg.MetadataValue.int(len(result.failed)),
        "rows": dg.MetadataValue.int(max((each.evaluated for each in result.results), default=0)),
        "unexpected_rows": dg.MetadataValue.int(sum(each.unexpected for each in result.failed)),
    }
    if result.failed:
        metadata["failures"] = dg.MetadataValue.table([_failure(each) for each in result.failed])
    return metadata


def _failure(result: ExpectationResult) -> dg.TableRecord:
    return dg.TableRecord(
        {
            "expectation": result.expectation.id,
            "severity": result.expectation.severity,
            "unexpected": result.unexpected,
            "evaluated": result.evaluated,
            "vi": result.expectation.vi,
            "en": result.expectation.en,
        }
    )


def schema_metadata(differing: pa.Table) -> dict[str, dg.MetadataValue]:
    """How many columns differ from the declaration, and which: declared and stored type of each."""
    metadata: dict[str, dg.MetadataValue] = {"differing_columns": dg.MetadataValue.int(differing.num_rows)}
    if differing.num_rows:
        metadata["columns"] = dg.MetadataValue.table([dg.TableRecord(row) for row in differing.to_pylist()])
    return metadata


def target_description(rows: Sequence[Target]) -> str:
    """The target as the decision words it, with its citation and our note on how it is read."""
    lines = [line for row in rows for line in (f"{_worded(row)} ({row.document}, {row.clause})", row.note) if line]
    return "\n\n".join(dict.fromkeys(lines))


def _worded(target: Target) -> str:
    """The wording, in quotation marks only where it is the decision's own."""
    return f"“{target.wording}”" if target.is_verbatim else target.wording


def latest_verdicts(source: Source) -> dict[str, list[dict[str, Any]]]:
    """Each target's verdicts for the province and each level in its newest year, province first; one pass for all."""
    rows = source.connection.sql(
        "SELECT target, scope, level, period_start, measure, threshold, rate, numerator, denominator, gap_dossiers, "
        "verdict, reason FROM out_verdict WHERE period = 'year' AND scope IN ('province', 'level') "
        "QUALIFY period_start = max(period_start) OVER (PARTITION BY target) "
        "ORDER BY target, list_position(['all', 'province', 'district', 'commune'], level)"
    )
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows.to_arrow_table().to_pylist():
        found.setdefault(row["target"], []).append(row)
    return found


def is_quiet(verdicts: Sequence[Mapping[str, Any]]) -> bool:
    """Whether nobody needs to look: nothing missed, and nothing without a source or without a verdict.

    A target without a source is not green: green is read as met.
    """
    return bool(verdicts) and not any(row["verdict"] in ("missed", "no_source") for row in verdicts)


def target_sentences(verdicts: Sequence[Mapping[str, Any]], *, counted: str) -> str:
    """The province, then each level, with the numbers; one line, because the UI folds line breaks."""
    if not verdicts:
        return "chưa có kết luận nào cho chỉ tiêu này"
    year = verdicts[0]["period_start"].year
    lines = [f"{LEVEL_VI[row['level']]}: {_said(row, counted)}" for row in verdicts]
    return f"Năm {year} (tính đến nay nếu năm chưa hết): " + "; ".join(lines)


def _said(row: Mapping[str, Any], counted: str) -> str:
    return sentence(
        verdict=row["verdict"],
        threshold=row["threshold"],
        numerator=row["numerator"],
        denominator=row["denominator"],
        gap=row["gap_dossiers"],
        counted=counted,
        measure=row["measure"],
        rate=row["rate"],
        reason=row["reason"],
    )


def target_metadata(verdicts: Sequence[Mapping[str, Any]]) -> dict[str, dg.MetadataValue]:
    """Numbers that the UI plots: those of the province plain, those of a level with its name behind.

    What has no value (no source, no denominator) is left out, since a plot would show it as 0.
    """
    metadata: dict[str, dg.MetadataValue] = {}
    for row in verdicts:
        suffix = "" if row["level"] == "all" else f"_{row['level']}"
        metadata[f"verdict{suffix}"] = dg.MetadataValue.text(row["verdict"])
        for name in ("rate", "threshold"):
            if row[name] is not None:
                metadata[f"{name}{suffix}"] = dg.MetadataValue.float(float(row[name]))
        for name in ("numerator", "denominator", "gap_dossiers"):
            if row[name] is not None:
                metadata[f"{name}{suffix}"] = dg.MetadataValue.int(int(row[name]))
    return metadata
