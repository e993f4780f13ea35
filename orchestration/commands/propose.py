"""`thuocdo propose`: a profile for files that nobody has described yet, as a proposal to correct.

Belongs here: where the proposal goes, and errors for operators. Does not belong here: any guess
(`connectors.files_propose`).
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from orchestration.settings import ConfigurationError

File = Annotated[Path, typer.Argument(show_default=False, help="Tệp mẫu của hệ thống · a file that the system exports")]
Target = Annotated[
    Path | None,
    typer.Argument(show_default=False, help="Tệp YAML cần ghi; in ra màn hình nếu không nói · profile to write"),
]


class ProposedRole(StrEnum):
    """The roles that a source of files can have."""

    ONESTOP = "onestop"
    PORTAL = "portal"
    PAYMENTS = "payments"


Role = Annotated[
    ProposedRole | None,
    typer.Option(
        "--role", help="Vai của nguồn; không nói thì đoán theo tiêu đề · the source's role; guessed if unsaid"
    ),
]


def propose(file: File, target: Target = None, *, role: Role = None) -> None:
    """Đề xuất hồ sơ nguồn từ một tệp CSV, XLSX, JSON, Parquet. · Propose a profile for dropped files."""
    from rich.console import Console
    from rich.markup import escape

    from connectors.files_open import FileProblem
    from connectors.files_propose import propose as proposal

    if not file.is_file():
        raise ConfigurationError(f"{file}: không có tệp này (no such file)")
    if target is not None and target.exists():
        raise ConfigurationError(f"{target}: đã có, không ghi đè; xóa đi hoặc chọn tên khác (exists already)")
    try:
        text = proposal(file, None if role is None else "payment" if role is ProposedRole.PAYMENTS else "dossier")
    except FileProblem as problem:
        raise ConfigurationError(f"{problem.place or file.name}: {problem}") from None
    console = Console(highlight=False)
    if target is None:
        console.print(escape(text), soft_wrap=True, end="")
        return
    try:
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{target}: không ghi được ({error.strerror}) (cannot be written)") from None
    console.print(f"[green]✓[/green] {escape(str(target))}: hãy đọc từng dòng, sửa và điền codes", soft_wrap=True)
