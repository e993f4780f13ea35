"""Invented applicants and officers, as the wire formats carry them.

Belongs here: names, identity numbers, phones, e-mails and addresses of nobody, and the marks by
which each can be recognised, so that a test can prove that none survives extraction. Does not
belong here: anything that measures.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

_FAMILIES = ("Nguyễn", "Trần", "Lê", "Phạm", "Hoàng", "Y", "H'", "Võ", "Đặng", "Bùi", "Niê", "Êban", "Mlô", "Đỗ")
_GIVEN = ("Bình", "Cúc", "Dũng", "Hạnh", "Khoa", "Lan", "Minh", "Ngọc", "Phúc", "Quỳnh", "Sơn", "Thảo", "Út", "Yến")

#: Every invented person carries at least one of these in each field; none occurs in a fact.
MARKS = ("Hư Cấu", "HƯ CẤU", "hu-cau", "vi-du.invalid", "đường Tưởng Tượng", "099066", "0999")
POOL = 4096


@dataclass(frozen=True)
class Person:
    """Nobody."""

    name: str
    identity_number: str
    phone: str
    email: str
    address: str
    #: A name as it appears in a file's name.
    slug: str


@cache
def people() -> tuple[Person, ...]:
    """The pool of invented persons; the same on every machine."""
    return tuple(_person(number) for number in range(POOL))


def _person(number: int) -> Person:
    family, given = _FAMILIES[number % len(_FAMILIES)], _GIVEN[(number // 3) % len(_GIVEN)]
    return Person(
        name=f"{family} Hư Cấu {given}",
        identity_number=f"099066{number:06d}",
        phone=f"0999{number:06d}",
        email=f"hu-cau.{number}@vi-du.invalid",
        address=f"Số {number % 300 + 1} đường Tưởng Tượng",
        slug=f"hu-cau-{number}",
    )
