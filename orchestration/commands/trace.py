"""`thuocdo trace MÃ_HỒ_SƠ`: one dossier from every stored version to every rule it counts in.

Belongs here: how the answer is printed, as text or JSON, and opening the lake as the newest night left it.
Does not belong here: the answer (`assets.questions.trace`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from expectations.wording import count_vi
from orchestration.settings import ConfigurationError, Home

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from assets.questions.decisions import Judgement
    from assets.questions.trace import Counted, Field, Held, Listed, Record, Trace

_MARK = {True: "✓", False: "✗"}
_KIND_VI = {"month": "tháng", "quarter": "quý", "half": "6 tháng", "year": "năm"}


def trace(
    code: Annotated[str, typer.Argument(metavar="MÃ_HỒ_SƠ", help="Bất kỳ mã nào của hồ sơ · any code it is known by")],
    day: Annotated[
        datetime | None,
        typer.Option("--as-known-on", formats=["%Y-%m-%d"], help="Như đã biết hết ngày này · as known on that day"),
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="In JSON · print JSON")] = False,
) -> None:
    """Lần theo một hồ sơ: nguồn nào nói gì, tính vào đâu, vì sao. · Trace one dossier to the rules it counts in."""
    from rich.console import Console

    from assets.indicators.definitions import load_definitions
    from assets.questions.past import NoNightError, PastLake, VersionGoneError, newest_night, night_known_on
    from assets.questions.trace import AmbiguousCodeError, UnknownDossierError
    from assets.questions.trace import trace as answer
    from warehouse.database import Database
    from warehouse.lake import Lake

    home = Home.from_environment()
    database = Database.open(home.database_url)
    try:
        night = newest_night(database) if day is None else night_known_on(database, day.date())
        lake = PastLake.of(Lake(home.lake), night)
        found = answer(lake, code, definitions=load_definitions(), as_of=night.as_of)
    except (NoNightError, VersionGoneError, UnknownDossierError, AmbiguousCodeError) as error:
        raise ConfigurationError(str(error)) from None
    if as_json:
        typer.echo(trace_json(found))
        return
    console = Console(highlight=False)
    for part in rendered(found):
        console.print(part)


def trace_json(found: Trace) -> str:
    """The whole answer as JSON: instants in ISO 8601 with their zone, judgements with their verdict."""
    content = asdict(found)
    for counted, one in zip(content["indicators"], found.indicators, strict=True):
        for told, judgement in zip(counted["judgements"], one.judgements, strict=True):
            told["in_denominator"], told["in_numerator"] = judgement.in_denominator, judgement.in_numerator
    return json.dumps(content, ensure_ascii=False, indent=2, default=_json_value)


def _json_value(value: Any) -> str:
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no JSON form")


def rendered(found: Trace) -> Iterator[RenderableType]:
    """The answer in the order in which it came about: sources, row, deadline, rules, quarantine."""
    from rich.markup import escape

    from assets.questions.decisions import said

    unmerged = "chưa hợp nhất được" if found.records else f"mang mã {found.asked.strip()}: chưa bản ghi nào dùng được"
    title = found.dossier_key or f"{unmerged} (xem phần cách ly)"
    yield f"[bold]Hồ sơ {escape(title)}[/bold] · số liệu đến {said(found.as_of)}"
    if found.also:
        yield escape(f"Mã này còn có ở: {', '.join(found.also)}")
    yield from _section("Nguồn · sources", (line for record in found.records for line in _record_lines(record)))
    tables = (_field_table(found.fields), _steps(found), _supplements(found), _payments(found))
    yield from (table for table in tables if table.row_count)
    if found.deadline is not None:
        verdict = "trễ" if found.deadline.is_late else "không trễ"
        sentences = (f"  {sentence}" for sentence in found.deadline.sentences)
        yield from _section(f"Thời hạn · deadline: {verdict} theo quy tắc quốc gia (2.2)", sentences)
    counted = (line for one in found.indicators for line in _counted_lines(one))
    yield from _section("Tính vào chỉ số nào · what it counts in", counted)
    held = (line for one in found.quarantine for line in _held_lines(one))
    yield from _section("Cách ly · quarantine", held)


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    """A heading and its lines; nothing at all without lines."""
    from rich.markup import escape

    told = [escape(line) for line in lines]
    if told:
        yield f"\n[bold]{escape(title)}[/bold]"
        yield from told


def _record_lines(record: Record) -> Iterator[str]:
    from assets.questions.decisions import said

    why = (
        "không tham gia hợp nhất" if record.rule is None else f"ghép theo {record.rule} {record.evidence or ''}".strip()
    )
    yield f"  {record.source} {record.record_key} ({why})"
    if record.listed is not None:
        yield f"    đơn vị {record.agency}: {_listed_vi(record.listed)}"
    for version in record.versions:
        at = f" nguồn ghi {version.source_time}" if version.source_time else ""
        changed = "; ".join(f"{one.field}: {one.before} → {one.after}" for one in version.changes)
        told = changed or f"{version.field_count} trường có giá trị"
        yield f"    lưu {said(version.stored_at)}, đêm {version.night}{at}: {told}"


def _listed_vi(listed: Iterable[Listed]) -> str:
    """What the source's directory calls an agency."""
    told = "; ".join(
        f"{one.agency} “{one.name}”{f', {one.note}' if one.note else ''} → {one.unit_code or 'chưa gắn đơn vị'}"
        for one in listed
    )
    return f"danh bạ của nguồn ghi {told}" if told else "danh bạ của nguồn không có"


def _held_lines(held: Held) -> Iterator[str]:
    from assets.questions.decisions import said

    yield f"  {said(held.quarantined_at)} {held.stage} {held.source} {held.record_key}: {held.detail}"
    parts = [f"lý do {held.reason} ({held.clause})"]
    if held.window_start and held.window_end:
        parts.append(f"khi đọc khoảng {said(held.window_start)} đến {said(held.window_end)}")
    parts.append(f"đã xử lý {said(held.settled_at)}" if held.settled_at else "chưa xử lý")
    yield f"    {'; '.join(parts)}"


def _table(title: str, *headings: str) -> Table:
    from rich.table import Table

    table = Table(title=f"\n{title}", title_justify="left", box=None, pad_edge=False, header_style="dim")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _field_table(fields: Iterable[Field]) -> Table:
    from rich.markup import escape

    table = _table("Dòng hợp nhất · the conformed row", "Cột · column", "Giá trị · value", "Nguồn", "Vì sao · why")
    for field in fields:
        others = {one.source: one.value for one in field.said if one.speaks and one.value != field.value}
        told = "; ".join(f"{source} nói {value}" for source, value in others.items())
        why = f"{field.why}; {told}" if told else field.why
        table.add_row(*map(escape, (f"{field.vi} ({field.name})", field.value, field.source or "–", why)))
    return table


def _steps(found: Trace) -> Table:
    from assets.questions.decisions import said

    table = _table("Bước xử lý · steps", "Bước", "Lúc", "Trạng thái")
    for one in found.steps:
        table.add_row(str(one.step_no), said(one.acted_at), str(one.status_code))
    return table


def _supplements(found: Trace) -> Table:
    from assets.questions.decisions import said

    table = _table("Yêu cầu bổ sung · supplements", "Lần", "Yêu cầu", "Nhận", "Hẹn trả trước", "Hẹn trả mới")
    for one in found.supplements:
        instants = (one.requested_at, one.answered_at, one.due_before_at, one.due_after_at)
        table.add_row(str(one.supplement_no), *map(said, instants))
    return table


def _payments(found: Trace) -> Table:
    from assets.questions.decisions import said

    table = _table("Phí, lệ phí · payments", "Số", "Nguồn", "Số tiền (đ)", "Hình thức", "Đã thu", "Trực tuyến", "Lúc")
    for one in found.payments:
        flags = (_MARK[one.is_settled], _MARK[one.is_online])
        table.add_row(
            str(one.payment_no), one.source, count_vi(one.amount_vnd), one.method or "–", *flags, said(one.paid_at)
        )
    return table


def _counted_lines(counted: Counted) -> Iterator[str]:
    yield f"  {counted.indicator} {counted.version}: {counted.name_vi}"
    if not counted.judgements:
        yield "    không có giao dịch nào để đếm"
    for judgement in _distinct(counted.judgements):
        yield f"    {_verdict(judgement, counted.event)}"
        for part in judgement.against or (judgement.numerator.parts if judgement.numerator else ()):
            yield f"      {part.vi}"
    yield f"    căn cứ: {counted.document}, {counted.clause}. {counted.note_vi}"


def _distinct(judgements: Iterable[Judgement]) -> Iterator[Judgement]:
    """What is judged alike for several kinds of period is said once, for the first of them."""
    seen = set()
    for one in judgements:
        same = (one.payment_no, one.in_denominator, one.in_numerator, tuple(part.text for part in one.against))
        if same not in seen:
            seen.add(same)
            yield one


def _verdict(judgement: Judgement, event: str) -> str:
    from assets.questions.decisions import said

    payment = f"giao dịch {judgement.payment_no}: " if judgement.payment_no is not None else ""
    kind = f", xét cuối {_KIND_VI[judgement.counted_for]}" if judgement.counted_for else ""
    where = f"{event} {said(judgement.event_on)}, đơn vị {judgement.unit_code}{kind}"
    if not judgement.in_denominator:
        return f"✗ {payment}không tính ({where}), vì:"
    held = "✓ tử số và mẫu số" if judgement.in_numerator else "– chỉ mẫu số, chưa vào tử số"
    return f"{payment}{held} ({where}), vì:"
