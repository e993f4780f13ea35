"""Does a text look as if it names a person, a phone, an e-mail or an identity number?

Belongs here: that one question, for the few free texts that come from outside. Does not belong here:
what is done about it.

A help against slips, not a proof of absence: a role such as "Chánh Văn phòng UBND tỉnh" must pass,
"Giám đốc Nguyễn Văn A" must not, and streets, wards and schools that are named after people must pass.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import cache
from itertools import takewhile
from urllib.parse import urlsplit

_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)*")
#: Vietnamese phone numbers, with whatever stands between their digits.
_PHONE = re.compile(r"(?<![\d/])(?:\+?84|0)(?:[ .-]?\d){9,10}(?![\d/])")
#: CMND has 9 digits, CCCD 12.
_IDENTITY = re.compile(r"(?<![\d/.])(?:\d{9}|\d{12}|\d{3} \d{3} \d{3}(?: \d{3})?)(?![\d/])")

_HONORIFIC = re.compile(r"(?<!\w)(?:[Ôô]ng|[Bb]à|anh|chị|[Đđ]ồng chí|[Đđ]/?[Cc]|Mr|Mrs|Ms|ÔNG|BÀ|ĐỒNG CHÍ)[.:]? +(\w+)")
#: Places that begin like an address of a person.
_PLACES_WITH_HONORIFIC = ("Rịa", "Đen", "RỊA", "ĐEN")
# fmt: off
#: Surnames that begin few other words.
_SURNAMES = (
    "Nguyễn", "Trần", "Phạm", "Hoàng", "Huỳnh", "Phan", "Vũ", "Võ", "Đặng", "Bùi", "Đỗ", "Ngô", "Dương", "Đinh",
    "Trương", "Lương", "Trịnh", "Lưu", "Lê",
)
#: Surnames of the Ê Đê and their neighbours stand last.
_LAST_SURNAMES = frozenset({"niê", "mlô", "byă", "êban", "ayun", "kbuôr", "ksơr", "adrơng", "knul", "kdăm"})
#: What stands in the middle of a name far more often than anywhere else.
_MIDDLES = ("Văn", "Thị")
#: Capitalised words that no name ends in, for those who write Every Word With A Capital: "Chánh Văn Phòng".
_NO_GIVEN_NAMES = ("Phòng", "Bản", "Thư", "Hóa", "Hoá", "Kiện", "Học", "Nghệ", "Trấn", "Xã", "Trường", "Trữ")
#: What carries the name of a person as its own: "phường Trần Phú".
_PLACES = frozenset({
    "phuong", "xa", "quan", "huyen", "tinh", "pho", "tran", "duong", "truong", "hoc", "thcs", "thpt", "non", "vien",
    "buon", "thon", "p", "x", "tp", "tt",
})
#: Of these, what is the end of a place's word is told from the end of a role's ("chuyên viên", "hiệu trưởng") by its
#: marks or, where there are none, by the word before.
_PLACES_AFTER = {"viên": {"cong"}, "vien": {"cong", "benh", "hoc"}}
_ROLES_AFTER = {"truong": {"hieu", "to", "doi", "thon"}}
# fmt: on


def looks_personal(text: str, *, names_of_places: Iterable[str] = ()) -> str | None:
    """What the text seems to hold, in Vietnamese, or None.

    `names_of_places` are names known to be units; they are taken out first.
    """
    text = unicodedata.normalize("NFC", text)
    if _EMAIL.search(text):
        return "địa chỉ thư điện tử"
    if _is_url(text):
        return None
    if _PHONE.search(text):
        return "số điện thoại"
    if _IDENTITY.search(text):
        return "số định danh cá nhân"
    for place in names_of_places:
        text = text.replace(place, "—")
    return "tên người" if _is_addressed(text) or _has_name(text) else None


def _is_addressed(text: str) -> bool:
    return any(_capital(word) and word not in _PLACES_WITH_HONORIFIC for word in _HONORIFIC.findall(text))


def _is_url(text: str) -> bool:
    """Articles and documents have long numbers in their addresses."""
    return urlsplit(text.strip()).scheme in {"http", "https"} and " " not in text.strip()


def _has_name(text: str) -> bool:
    words = re.findall(r"[^\W\d_'’]+|[^\w\s]", text)
    runs = (_capitals(words[i : i + 3]) for i in range(len(words)) if not _follows_a_place(words, i))
    return any(_is_name(run) for run in runs)


def _is_name(run: list[str]) -> bool:
    """Whether up to three capitalised words read as a name.

    In capitals or without accents too much else looks like two words of a name, so that three are needed.
    """
    is_bare = all(word.isascii() for word in run)
    spoken = [(accentless if is_bare else str.casefold)(word) for word in run]
    surnames, middles, others = _spellings(is_bare=is_bare)
    if len(run) < 2 or spoken[-1] in others:  # noqa: PLR2004  a name has two words at least
        return False
    if _LAST_SURNAMES.intersection(spoken):
        return True
    is_whole = len(run) == 3  # noqa: PLR2004  surname, middle name, given name
    return (spoken[0] in surnames and (is_whole or not (is_bare or run[0].isupper()))) or (
        is_whole and spoken[1] in middles
    )


@cache
def _spellings(*, is_bare: bool) -> tuple[frozenset[str], ...]:
    """Surnames, middle names and what ends no name, in small letters; without marks for who writes none."""
    spelt = accentless if is_bare else str.casefold
    return tuple(frozenset(map(spelt, words)) for words in (_SURNAMES, _MIDDLES, _NO_GIVEN_NAMES))


def _capitals(words: list[str]) -> list[str]:
    """The capitalised words that `words` begins with."""
    return list(takewhile(_capital, words))


def _capital(word: str) -> bool:
    return word[:1].isupper()


def accentless(word: str) -> str:
    """Small letters without marks."""
    letters = unicodedata.normalize("NFD", word.casefold().replace("đ", "d"))
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


def _follows_a_place(words: list[str], index: int) -> bool:
    if index == 0 or accentless(words[index - 1]) not in _PLACES:
        return False
    word, before = words[index - 1].casefold(), accentless(words[index - 2]) if index > 1 else ""
    if word in _PLACES_AFTER:
        return before in _PLACES_AFTER[word]
    return word != "trưởng" and before not in _ROLES_AFTER.get(word, ())
