"""`thuocdo receive`: take messages in the national portal's format from one-stop vendors, until stopped.

Belongs here: what is printed, where the log goes. Does not belong here: the service (`orchestration/receive.py`).
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from orchestration.settings import Home, load_province, province_path


def receive(
    province: Annotated[
        Path | None, typer.Argument(show_default=False, help="Tệp YAML của tỉnh · province file; THUOCDO_PROVINCE")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Địa chỉ nghe, thay cho receiver.host · address")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Cổng, thay cho receiver.port · port (0: any)")
    ] = None,
) -> None:
    """Nhận tin theo định dạng Cổng DVCQG từ hệ thống một cửa, Ctrl-C để dừng. · Receive national-portal messages."""
    from rich.console import Console

    from orchestration.receive import configured, listener, made_receiver, open_journal, serve, tidier

    _log_to_stderr()
    home = Home.from_environment()
    loaded = load_province(province or province_path(), home=home)
    settings = configured(loaded)
    receiver = made_receiver(settings)
    with listener(settings, host=host, port=port) as socket:
        journal = open_journal(settings)
        at = ":".join(str(part) for part in socket.getsockname()[:2])
        out = Console(highlight=False)
        out.print(
            f"Đang nhận tại http://{at}{settings.integration_endpoint}; Ctrl-C để dừng · receiving", soft_wrap=True
        )
        serve(settings, receiver, journal, socket, tidier(home, loaded))


def _log_to_stderr() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("thuocdo.receiver")
    logger.setLevel(logging.INFO)
    logger.handlers = [handler]
    logger.propagate = False
