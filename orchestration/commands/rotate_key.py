"""`thuocdo rotate-key`: a new key for the hashes of what was set aside, after the present one became known.

Belongs here: the home's lock, the refusal where the key is not in the home, what is printed. Does not belong here:
the key and its turns (`assets.raw.hashes`).
"""

from __future__ import annotations

from orchestration.settings import Home


def rotate_key() -> None:
    """Thay khóa băm của bản ghi bị cách ly, khi khóa bị lộ. · Replace the key of the quarantine's hashes."""
    from datetime import UTC, datetime

    from rich.console import Console
    from rich.markup import escape

    from assets.raw.hashes import rotate_by_hand
    from orchestration.lock import night_lock

    home, console = Home.from_environment(), Console(highlight=False)
    with night_lock(home, night="rotate-key"):
        keys = rotate_by_hand(home.hash_key, now=datetime.now(UTC))
    console.print(f"[green]✓[/green] {escape(str(home.hash_key))}: khóa mới · a new key", soft_wrap=True)
    if keys.previous is None:
        console.print("Trước đó chưa có khóa nào. · There was none before.")
        return
    console.print(
        "Khóa cũ còn được giữ để đêm tới nhận ra bản ghi đã cách ly và băm lại. Khóa cũ bị lộ thì sau đêm tới hãy chạy "
        "lệnh này lần nữa: khóa cũ mất hẳn. Mã băm cũ còn trong các phiên bản trước của kho đến khi thuocdo upkeep "
        "dọn. "
        "· The old key serves until this is run again, after the next night; old hashes stand in past versions until "
        "upkeep removes them."
    )
