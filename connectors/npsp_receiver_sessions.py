"""Who sends: passwords, and the sessions that a log-in gives out.

Belongs here: proving an account. Does not belong here: what an account may send (`npsp_receiver.py`).

A session is a signed statement, not a row in a table: clients of this protocol keep theirs for a day
and do not log in again when it is refused, so a session must outlive a restart of ours. The key is
drawn from the account's password: a new password ends every old session, and nothing secret is stored.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping

_SCRYPT = {"n": 2**14, "r": 8, "p": 1, "dklen": 32}
_SALT = b"thuocdo receiver session v1"


class Sessions:
    """Log-ins and sessions of accounts (user name → password); `now` says seconds since the epoch."""

    def __init__(self, passwords: Mapping[str, str], *, seconds: int, now: Callable[[], float]) -> None:
        self._digests = {user: _digest(password) for user, password in passwords.items()}
        # Slow on purpose, once at start: a session that leaks is no shortcut to its password.
        self._keys = {
            user: hashlib.scrypt(password.encode(), salt=_SALT + user.encode(), **_SCRYPT)
            for user, password in passwords.items()
        }
        self._seconds = seconds
        self._now = now

    def proves(self, user: str, password: str) -> bool:
        """Whether `password` is the account's, in the same time whether or not there is such an account."""
        known = self._digests.get(user, b"\0" * 32)
        return hmac.compare_digest(_digest(password), known) and user in self._digests

    def begin(self, user: str) -> str:
        """A session of a known account, valid for the configured time."""
        name = base64.urlsafe_b64encode(user.encode()).decode().rstrip("=")
        said = f"{name}.{int(self._now()) + self._seconds}.{secrets.token_hex(8)}"
        return f"{said}.{self._signature(user, said)}"

    def account(self, session: str) -> str | None:
        """The account that `session` proves; None for one that is old, unknown or tampered with."""
        said, _, signature = session.rpartition(".")
        pieces = said.split(".")
        if len(pieces) != 3:  # noqa: PLR2004  name, end, nonce
            return None
        user = claimed_user(session)
        if user not in self._keys:
            return None
        expected = self._signature(user, said)
        if not hmac.compare_digest(signature.encode(), expected.encode()):
            return None
        return user if int(pieces[1]) > self._now() else None

    def _signature(self, user: str, said: str) -> str:
        return hmac.new(self._keys[user], said.encode(), hashlib.sha256).hexdigest()


def claimed_user(session: str) -> str:
    """The user name that a session states, proved or not; blank when it states none."""
    name = session.partition(".")[0]
    try:
        return base64.urlsafe_b64decode(name.encode() + b"=" * (-len(name) % 4)).decode()
    except ValueError:
        return ""


def _digest(password: str) -> bytes:
    return hashlib.sha256(password.encode()).digest()
