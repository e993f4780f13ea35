"""The keyed hash of what was set aside: recognised the next night, told to nobody.

Belongs here: the key, its file and its turn, and hashing with it. Does not belong here: what is hashed
(`quarantine.py`). The bytes of a broken record may hold a person; a plain hash of them could be found by trying
every identity number, and would be the same in every home. A key is kept for one turn after it was replaced, so
that what was hashed with it is still recognised; then it is gone, and nobody can tell which record a hash was of.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

#: In place of the file: a secret of at least 16 characters, and how many days a key serves (0: for ever).
KEY_VARIABLE, DAYS_VARIABLE = "THUOCDO_HASH_KEY", "THUOCDO_HASH_KEY_DAYS"
DEFAULT_DAYS = 180
_LEAST = 16
_SIZE = 16


class KeyProblem(ValueError):  # noqa: N818  says what is wrong
    """The key cannot be used; the text names the variable or the file."""


@dataclass(frozen=True)
class Keys:
    """The key of today and, for one turn, the one before."""

    current: bytes
    previous: bytes | None = None

    def of(self, said: str) -> str:
        """128 bits, hexadecimal."""
        return _keyed(said, self.current)

    def before(self, said: str) -> str | None:
        """The same under the key before, or None where there was none."""
        return None if self.previous is None else _keyed(said, self.previous)


def _keyed(said: str, key: bytes) -> str:
    return hashlib.blake2b(said.encode(), key=hashlib.sha256(key).digest(), digest_size=_SIZE).hexdigest()


@dataclass
class _InUse:
    keys: Keys


#: A night is one process, and its home has one key. Where nobody opened one (a library's use), hashes are plain.
_in_use = _InUse(Keys(b"no key"))


def use(keys: Keys) -> None:
    """Hash with these keys from now on, in this process."""
    _in_use.keys = keys


def in_use() -> Keys:
    """The keys that this process hashes with."""
    return _in_use.keys


def open_keys(file: Path, *, now: datetime, environment: Mapping[str, str] = os.environ) -> Keys:
    """The keys of a home, made on first use and replaced when their days are over.

    `KEY_VARIABLE` overrides the file: "new" alone, or "new,before" for one turn. Raises `KeyProblem`.
    """
    if said := environment.get(KEY_VARIABLE):
        current, _, previous = said.partition(",")
        if min(len(each) for each in (current, previous or current)) < _LEAST:
            raise KeyProblem(f"{KEY_VARIABLE}: khóa phải có ít nhất {_LEAST} ký tự (key too short)")
        return Keys(current.encode(), previous.encode() or None)
    days = environment.get(DAYS_VARIABLE) or str(DEFAULT_DAYS)
    if not days.isdecimal():
        raise KeyProblem(f"{DAYS_VARIABLE}: {days!r} không phải số ngày (not a number of days)")
    if not file.exists():
        return _write(file, secrets.token_bytes(32), None, now)
    kept, since = _read(file)
    if int(days) and now - since >= timedelta(days=int(days)):
        return rotate(file, now=now)
    return kept


def rotate(file: Path, *, now: datetime) -> Keys:
    """Put a new key in the place of the present one, which becomes the one before; that one's predecessor is gone."""
    return _write(file, secrets.token_bytes(32), _read(file)[0].current if file.exists() else None, now)


def rotate_by_hand(file: Path, *, now: datetime, environment: Mapping[str, str] = os.environ) -> Keys:
    """`rotate`, for an operator. Raises `KeyProblem` where the key is not in the file: it says how it is replaced."""
    if environment.get(KEY_VARIABLE):
        raise KeyProblem(
            f"Khóa lấy từ biến {KEY_VARIABLE}, không từ {file}: hãy đặt {KEY_VARIABLE}=khóa-mới,khóa-đang-dùng nơi đặt "
            "biến này (khóa mới: openssl rand -hex 32), chạy một đêm, rồi bỏ phần sau dấu phẩy (the key comes from the "
            "environment: set new,present there, run a night, then leave the new one alone)"
        )
    return rotate(file, now=now)


def _read(file: Path) -> tuple[Keys, datetime]:
    try:
        said = json.loads(file.read_text(encoding="ascii"))
        previous = bytes.fromhex(said["previous"]) if said["previous"] else None
        return Keys(bytes.fromhex(said["current"]), previous), datetime.fromisoformat(said["since"])
    except (ValueError, KeyError, TypeError):
        raise KeyProblem(f"{file}: tệp khóa hỏng; khôi phục từ bản sao lưu hoặc xóa đi (damaged key file)") from None


def _write(file: Path, current: bytes, previous: bytes | None, now: datetime) -> Keys:
    """Written aside with mode 0600 and put in place in one step: a crash leaves the old file or the new one."""
    said = {"current": current.hex(), "previous": previous.hex() if previous else None, "since": now.isoformat()}
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_suffix(".new")
    aside.unlink(missing_ok=True)
    with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as stream:
        json.dump(said, stream)
        stream.flush()
        os.fsync(stream.fileno())
    aside.replace(file)
    return Keys(current, previous)
