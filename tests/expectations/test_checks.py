"""Checks in real Dagster runs over tiny lakes: whether a failure blocks, warns or crashes is Dagster's
decision, so only Dagster can show it. The pure functions that make metadata are tested alone.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest

from expectations.checks import (
    checks_for,
    is_quiet,
    suite_metadata,
    target_check_name,
    target_checks,
    target_description,
    target_metadata,
    target_sentences,
)
from expectations.gx import ExpectationResult, Source, SuiteResult
from expectations.suites import Expectation, Suite, load_suite
from expectations.targets import load_targets
from tests.expectations.conftest import good_rows
from tests.rows import table_rows
from warehouse.lake import Lake, connect
from warehouse.schema import Table
from warehouse.tables import CORE_DOSSIER, CORE_UNIT, OUT_VERDICT

TARGETS = load_targets(["dak-lak-3478"])


class FolderStores(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The lake of a test's folder, as the resource that checks ask for."""

    root: str

    def lake(self) -> Lake:
        """The lake."""
        return Lake(self.root)


def _run(
    tmp_path: Path, table: Table, rows: pa.Table, checks: list[dg.AssetChecksDefinition]
) -> tuple[dg.ExecuteInProcessResult, dict[str, dg.AssetCheckEvaluation]]:
    """Materialise `table` and an asset after it, with `checks`; returns the evaluations by name."""

    @dg.asset(name=table.name, required_resource_keys={"stores"})
    def checked(context) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001  (Dagster refuses a postponed one)
        context.resources.stores.lake().replace(table, rows)

    @dg.asset(deps=[table.name])
    def after() -> None: ...

    result = dg.materialize(
        [checked, after, *checks],
        resources={"stores": FolderStores(root=str(tmp_path))},
        instance=dg.DagsterInstance.ephemeral(),
        raise_on_error=False,
    )
    return result, {each.check_name: each for each in result.get_asset_check_evaluations()}


def _went_on(result: dg.ExecuteInProcessResult) -> bool:
    return any(event.asset_key == dg.AssetKey("after") for event in result.get_asset_materialization_events())


def _unit_checks() -> list[dg.AssetChecksDefinition]:
    return checks_for("core_unit", CORE_UNIT, load_suite(CORE_UNIT))


def test_one_check_per_group_and_integrity_blocks() -> None:
    specs = [
        spec
        for check in checks_for("core_dossier", CORE_DOSSIER, load_suite(CORE_DOSSIER))
        for spec in check.check_specs
    ]
    assert [(spec.name, spec.blocking) for spec in specs] == [
        ("schema", True),
        ("keys", True),
        ("domains", True),
        ("identities", True),
    ]
    assert "Hồ sơ đã tiếp nhận phải có ngày tiếp nhận" in (specs[3].description or "")


def test_a_suite_of_another_table_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the suite is of core_unit, the asset's table is core_dossier"):
        checks_for("core_dossier", CORE_DOSSIER, load_suite(CORE_UNIT))


def test_good_rows_pass_and_what_comes_after_runs(tmp_path: Path) -> None:
    result, found = _run(tmp_path, CORE_UNIT, good_rows(CORE_UNIT), _unit_checks())
    assert result.success
    assert {name: each.passed for name, each in found.items()} == dict.fromkeys(
        ["schema", "keys", "domains", "identities"], True
    )
    assert found["domains"].metadata["rows"].value == good_rows(CORE_UNIT).num_rows
    assert found["identities"].description == "6 điều kiện đều đúng"
    assert _went_on(result)


def test_a_critical_failure_blocks_what_comes_after(tmp_path: Path) -> None:
    rows = pa.concat_tables([good_rows(CORE_UNIT), good_rows(CORE_UNIT).slice(0, 1)])
    result, found = _run(tmp_path, CORE_UNIT, rows, _unit_checks())
    assert (found["keys"].passed, found["keys"].severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert found["keys"].description == "Khóa unit_code, valid_from không được trùng: 1 dòng sai"
    assert found["keys"].metadata["unexpected_rows"].value == 1
    assert not _went_on(result)


def test_a_warning_in_a_blocking_group_lets_it_go_on(tmp_path: Path) -> None:
    critical = Expectation(
        id="keys_are_there",
        group="domains",
        severity="critical",
        vi="vi",
        en="en",
        query="SELECT 1 FROM core_unit WHERE unit_code IS NULL",
    )
    warning = Expectation(
        id="named",
        group="domains",
        severity="warning",
        vi="Tên",
        en="en",
        query="SELECT 1 FROM core_unit WHERE name = 'x'",
    )
    suite = Suite(table=CORE_UNIT, expectations=(critical, warning))
    rows = table_rows(CORE_UNIT, {"unit_code": "H15", "name": "x"})
    result, found = _run(tmp_path, CORE_UNIT, rows, checks_for("core_unit", CORE_UNIT, suite))
    assert (found["domains"].passed, found["domains"].severity) == (False, dg.AssetCheckSeverity.WARN)
    assert found["domains"].blocking
    assert _went_on(result)


def test_a_crash_inside_a_check_fails_the_run_and_is_no_evaluation(tmp_path: Path) -> None:
    broken = Expectation(
        id="b", group="keys", severity="critical", vi="vi", en="en", query="SELECT nowhere FROM core_unit"
    )
    suite = Suite(table=CORE_UNIT, expectations=(broken,))
    result, found = _run(tmp_path, CORE_UNIT, good_rows(CORE_UNIT), checks_for("core_unit", CORE_UNIT, suite))
    assert not result.success
    assert set(found) == {"schema"}


def _verdict(target: str, level: str, year: int, verdict: str, counts: tuple[int, int, int] | None) -> dict[str, Any]:
    numerator, denominator, gap = counts or (None, None, None)
    return {
        "target": target,
        "version": "v" if counts else "",
        "scope": "province" if level == "all" else "level",
        "level": level,
        "unit_code": "H15",
        "period": "year",
        "period_start": date(year, 1, 1),
        "threshold": 0.5,
        "numerator": numerator,
        "denominator": denominator,
        "rate": numerator / denominator if numerator is not None and denominator else None,
        "gap_dossiers": gap,
        "verdict": verdict,
    }


def test_target_checks_warn_with_their_numbers_and_never_block(tmp_path: Path) -> None:
    rows = table_rows(
        OUT_VERDICT,
        _verdict("DL-D1", "all", 2025, "met", (9, 10, 0)),
        _verdict("DL-D1", "all", 2026, "missed", (3887, 10_060, 1143)),
        _verdict("DL-D1", "province", 2026, "met", (6, 10, 0)),
        _verdict("DL-D1", "commune", 2026, "too_few", (1, 3, 1)),
        _verdict("DL-D1", "commune", 2026, "missed", (0, 9, 5)) | {"scope": "unit", "unit_code": "H15.1"},
        _verdict("DL-A2b", "all", 2026, "missed", (0, 10, 5)),
        _verdict("DL-A4c", "all", 2026, "met", (5, 10, 0)),
        _verdict("DL-A3-P", "province", 2026, "no_source", None),
    )
    checks = target_checks("out_verdict", TARGETS)
    result, found = _run(tmp_path, OUT_VERDICT, rows, checks)
    assert result.success
    assert _went_on(result)
    missed = found["target_DL_D1"]
    assert (missed.passed, missed.severity, missed.blocking) == (False, dg.AssetCheckSeverity.WARN, False)
    assert missed.description == (
        "Năm 2026 (tính đến nay nếu năm chưa hết): "
        "toàn tỉnh: 38,6 % so với 50 %, còn thiếu 1.143 hồ sơ; "
        "cấp tỉnh: 60,0 % so với 50 %, đạt; "
        "cấp xã: 33,3 % so với 50 %, chỉ có 3 hồ sơ nên không kết luận"
    )
    assert (missed.metadata["gap_dossiers"].value, missed.metadata["threshold"].value) == (1143, 0.5)
    assert missed.metadata["rate"].value == pytest.approx(3887 / 10_060)
    assert missed.metadata["rate_province"].value == 0.6
    assert "còn thiếu 5 giao dịch" in (found["target_DL_A2b"].description or "")
    assert found["target_DL_A4c"].passed
    assert not found["target_DL_A3_P"].passed, "green would be read as met"
    assert not found["target_DL_E2"].passed
    assert found["target_DL_E2"].description == "chưa có kết luận nào cho chỉ tiêu này"


def test_every_target_has_one_check_with_the_decisions_words() -> None:
    specs = {spec.name: spec for check in target_checks("out_verdict", TARGETS) for spec in check.check_specs}
    assert set(specs) == {target_check_name(target.target) for target in TARGETS}
    assert len(specs) == 40
    described = specs["target_DL_A7"].description or ""
    assert described.startswith("“80% người dân, doanh nghiệp khi thực hiện TTHC không phải cung cấp lại")
    assert "mục II.2.a" in described
    assert "Chỉ số thay thế" in described


def test_the_steps_of_a_target_are_all_described_once() -> None:
    described = target_description([target for target in TARGETS if target.target == "DL-A3-P"])
    assert described.count("Năm 2022") == 1
    assert described.count("giai đoạn 2023 - 2025") == 1


def test_metadata_leaves_out_what_has_no_value() -> None:
    metadata = target_metadata([_verdict("T", "all", 2026, "no_source", None)])
    assert {name: value.value for name, value in metadata.items()} == {"verdict": "no_source", "threshold": 0.5}


@pytest.mark.parametrize(
    ("verdicts", "quiet"),
    [
        (["met", "not_yet_due", "not_applicable", "too_few"], True),
        (["met", "missed"], False),
        (["no_source"], False),
        ([], False),
    ],
)
def test_when_nobody_needs_to_look(verdicts: list[str], quiet: bool) -> None:
    assert is_quiet([{"verdict": verdict} for verdict in verdicts]) is quiet


def test_sentences_without_verdicts() -> None:
    assert target_sentences([], counted="hồ sơ") == "chưa có kết luận nào cho chỉ tiêu này"


def test_metadata_of_a_suite_holds_counts_and_messages_only() -> None:
    each = Expectation(id="a", group="keys", severity="critical", vi="vi", en="en", query="SELECT 1")
    failed = ExpectationResult(expectation=each, evaluated=10, unexpected=3, keys=(("H15-1",),))
    metadata = suite_metadata(SuiteResult(table="t", results=(failed,)))
    table = metadata.pop("failures")
    assert {name: value.value for name, value in metadata.items()} == {
        "expectations": 1,
        "failed": 1,
        "rows": 10,
        "unexpected_rows": 3,
    }
    assert isinstance(table, dg.TableMetadataValue)
    assert table.records[0].data["unexpected"] == 3
    assert "H15-1" not in repr(table)


def test_another_place_can_be_checked(tmp_path: Path) -> None:
    def elsewhere(_: object, suite: Suite) -> Source:
        connection = connect()
        connection.register(suite.table.name, good_rows(suite.table).slice(0, 0))
        return Source(connection, suite.table.arrow_schema())

    checks = checks_for("core_unit", CORE_UNIT, load_suite(CORE_UNIT).group("keys"), load=elsewhere)
    _, found = _run(tmp_path, CORE_UNIT, good_rows(CORE_UNIT), checks)
    assert found["keys"].metadata["rows"].value == 0
