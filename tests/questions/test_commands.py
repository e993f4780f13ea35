"""What the commands print and write: the numbers and reasons of the answer, in the words of an operator.

At the level of the commands, over the nights that the other tests reason about.
"""

from __future__ import annotations

import csv
import json
from datetime import datetime
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from orchestration.commands.diff import diff
from orchestration.commands.explain import explain
from orchestration.commands.restate import restate
from orchestration.commands.score import score
from orchestration.commands.template import template
from orchestration.commands.trace import trace
from orchestration.settings import ConfigurationError
from tests.questions.conftest import TwoNights


@pytest.fixture
def cli(two_nights: TwoNights, monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    """The commands in the home of the two nights."""
    home = two_nights.here.home.root
    monkeypatch.setenv("THUOCDO_HOME", str(home))
    monkeypatch.setenv("THUOCDO_PROVINCE", str(two_nights.here.sandbox.province_file))
    monkeypatch.setenv("COLUMNS", "300")
    app = typer.Typer(pretty_exceptions_enable=False)
    for command in (trace, restate, diff, explain, score, template):
        app.command()(command)
    return app


def _said(cli: typer.Typer, *words: str) -> str:
    result = CliRunner().invoke(cli, list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def _busy(two_nights: TwoNights) -> str:
    """A dossier that all three systems know and that is not online."""
    rows = two_nights.second.dossier
    known = rows[rows.in_portal & rows.in_onestop & rows.in_messages & (rows.channel != "online") & rows.is_received]
    return str(known.dossier_key.iloc[-1])


def test_trace_prints_sources_row_deadline_and_rules(cli: typer.Typer, two_nights: TwoNights) -> None:
    code = _busy(two_nights)
    text = _said(cli, "trace", code.lower())
    for words in (code, "Nguồn · sources", "onestop", "Dòng hợp nhất", "Thời hạn", "Tính vào chỉ số nào"):
        assert words in text
    assert "channel = 'online' → sai (channel = " in text
    assert "Mô tả công thức tính chỉ số 766 (Quyết định 766/QĐ-TTg), 3.3" in text


def test_trace_as_json_is_the_whole_answer(cli: typer.Typer, two_nights: TwoNights) -> None:
    code = _busy(two_nights)
    answer = json.loads(_said(cli, "trace", code, "--json"))
    assert answer["dossier_key"] == code
    (vendor,) = [
        one for one in answer["indicators"] if (one["indicator"], one["version"]) == ("online-processing", "vendor-td")
    ]
    assert vendor["judgements"][0]["in_numerator"] is False
    then = json.loads(_said(cli, "trace", code, "--json", "--as-known-on", "2026-10-31"))
    assert datetime.fromisoformat(then["as_of"]) == two_nights.first.as_of


def test_an_unknown_dossier_is_a_sentence(cli: typer.Typer) -> None:
    with pytest.raises(ConfigurationError, match="Không có hồ sơ nào mang mã G22-1"):
        CliRunner().invoke(cli, ["trace", "G22-1"], catch_exceptions=False)


def test_restate_prints_then_and_now_and_writes_every_dossier(
    cli: typer.Typer, two_nights: TwoNights, tmp_path: Path
) -> None:
    file = tmp_path / "between.csv"
    text = _said(cli, "restate", "--as-known-on", "2026-10-31", "--period", "2026", "--csv", str(file))
    assert "Năm 2026, toàn tỉnh" in text
    rows = list(csv.DictReader(file.open(encoding="utf-8-sig")))
    mine = [row for row in rows if (row["indicator"], row["version"]) == ("reuse", "766-4.3")]
    more = sum(int(row["denominator_now"]) - int(row["denominator_then"]) for row in mine)
    published = []
    for night in (two_nights.first, two_nights.second):
        of = night.indicator
        year = of[(of.scope == "province") & (of.period == "year") & (of.period_start.astype(str) == "2026-01-01")]
        published.append(int(year[(year.indicator == "reuse") & (year.version == "766-4.3")].denominator.iloc[0]))
    assert more == published[1] - published[0]


def test_without_a_day_the_first_night_that_covers_the_period_reported_it(cli: typer.Typer) -> None:
    text = _said(cli, "restate", "--period", "2026-10", "--indicator", "reuse")
    assert "số liệu đến 01/11/2026 00:00:00 và đến 03/11/2026 00:00:00" in text
    with pytest.raises(ConfigurationError, match="Chưa có đêm nào biết trọn Tháng 11/2026"):
        CliRunner().invoke(cli, ["restate", "--period", "2026-11"], catch_exceptions=False)
    with pytest.raises(ConfigurationError, match="hết ngày 01/01/2020"):
        CliRunner().invoke(cli, ["restate", "--as-known-on", "2020-01-01"], catch_exceptions=False)


def test_diff_prints_counts_reasons_and_writes_every_dossier(cli: typer.Typer, tmp_path: Path) -> None:
    file = tmp_path / "diff.csv"
    text = _said(cli, "diff", "online-processing", "766-3.3", "vendor-td", "--period", "2026", "--csv", str(file))
    assert "channel IN ('direct', 'online')" in text
    rows = list(csv.DictReader(file.open(encoding="utf-8-sig")))
    assert rows
    assert all(row["why"] for row in rows)
    with pytest.raises(ConfigurationError, match="không có chỉ số này"):
        CliRunner().invoke(cli, ["diff", "nothing", "a", "b"], catch_exceptions=False)


_RATE = ("online-processing", "--version", "766-3.3")
_VERSIONS = ("online-processing", "766-3.3", "vendor-td")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["restate", "--period", "2026-10", "--unit", "H15.KHONG"], "--unit H15.KHONG: không có đơn vị"),
        (["diff", *_VERSIONS, "--unit", "H15.KHONG"], "--unit H15.KHONG: không có đơn vị"),
        (
            ["explain", *_RATE, "--period", "2026", "--against", "2025", "--unit", "H15.KHONG"],
            "--unit H15.KHONG: không có đơn vị",
        ),
        (["diff", *_VERSIONS, "--period", "2033"], "không phiên bản nào đếm gì trong Năm 2033"),
        (["restate", "--as-known-on", "2026-10-31", "--period", "2033"], "Không có số nào cho Năm 2033"),
        (["restate", "--period", "2026-13"], "--period: “2026-13”"),
        (["explain", *_RATE, "--period", "2026", "--against", "hôm qua"], "--against: “hôm qua”"),
        (["explain", *_RATE, "--period", "2026", "--against", "2019"], "Năm 2019, Năm 2026, toàn tỉnh"),
        (["template", "{folder}/a.xlsx", "--level", "thon"], "--level thon: phải là province"),
        (["score", "{folder}/counts.csv", "--set", "767"], "--set: 767"),
    ],
)
def test_a_wrong_argument_is_named_and_never_answered_with_nothing(
    cli: typer.Typer, tmp_path: Path, words: list[str], said: str
) -> None:
    """A misspelt unit that reads "0 hồ sơ, không đổi" would be taken for a figure."""
    with pytest.raises(ConfigurationError, match=said):
        CliRunner().invoke(cli, [word.format(folder=tmp_path) for word in words], catch_exceptions=False)


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (["restate", "--period", "2026-10", "--csv"], "--csv"),
        (["diff", *_VERSIONS, "--csv"], "--csv"),
        (["score", "{folder}/counts.csv", "--out"], "--out"),
    ],
)
def test_a_file_that_cannot_be_written_is_a_sentence(
    cli: typer.Typer, tmp_path: Path, words: list[str], key: str
) -> None:
    tmp_path.joinpath("counts.csv").write_text("unit,component,numerator,denominator\nA,1.1,3,4\n", encoding="utf-8")
    words = [word.format(folder=tmp_path) for word in [*words, "{folder}/missing/out.csv"]]
    with pytest.raises(ConfigurationError, match=f"{key} .*missing/out.csv: không ghi được"):
        CliRunner().invoke(cli, words, catch_exceptions=False)


@pytest.mark.parametrize("name", ["a.xlsx", "a.csv"])
def test_a_form_that_cannot_be_written_is_a_sentence(cli: typer.Typer, tmp_path: Path, name: str) -> None:
    tmp_path.joinpath(name).mkdir()
    with pytest.raises(ConfigurationError, match=f"{name}: không ghi được"):
        CliRunner().invoke(cli, ["template", str(tmp_path / name)], catch_exceptions=False)


def test_the_province_by_its_own_code_is_the_province(cli: typer.Typer) -> None:
    whole = _said(cli, "explain", *_RATE, "--period", "2026", "--against", "2025")
    assert _said(cli, "explain", *_RATE, "--period", "2026", "--against", "2025", "--unit", "H15") == whole
