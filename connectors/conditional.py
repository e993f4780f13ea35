"""Documents that need not be sent again: what a source said of them when it last sent them whole.

Belongs here: the validators of HTTP (ETag, Last-Modified), when they may be used, and how they are kept. Does
not belong here: making calls (`loop.py`), where this is stored (`warehouse/database.py`), nor what a document holds.

No body is kept, only its hash: it may speak of persons. So a document may be asked for conditionally only by a
walk that needs nothing of it when it has not changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from connectors.protocol import Reply

#: Even an unchanged document is read whole so often: a source that never admits a change would be believed for ever.
WHOLE_AFTER = timedelta(days=7)


@dataclass(frozen=True)
class Document:
    """One document as it was last sent whole. `note` is the walk's own: what it needs when the body does not come.

    `is_trusted` falls for good when the same validator comes with another body.
    """

    body_hash: str
    read_at: datetime
    etag: str = ""
    last_modified: str = ""
    is_trusted: bool = True
    note: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, reply: Reply, *, now: datetime, before: Document | None, **note: Any) -> Document | None:
        """What to keep of a reply that came whole, None when it has no validator; `before` is what was kept of it."""
        etag, modified = (reply.headers.get(name, "") for name in ("etag", "last-modified"))
        if not etag and not modified:
            return None
        found = cls(hashlib.sha256(reply.body).hexdigest(), now, etag, modified, note=note)
        same = before is not None and (before.etag, before.last_modified) == (etag, modified)
        if before is not None and (not before.is_trusted or (same and before.body_hash != found.body_hash)):
            return replace(found, is_trusted=False)
        return found

    def headers(self, *, now: datetime) -> tuple[tuple[str, str], ...]:
        """What to send so that the source may answer 304; nothing when the document is to be read whole."""
        if not self.is_trusted or not timedelta() <= now - self.read_at < WHOLE_AFTER:
            return ()
        given = (("If-None-Match", self.etag), ("If-Modified-Since", self.last_modified))
        return tuple((name, value) for name, value in given if value)

    def stored(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self) | {"read_at": self.read_at.isoformat()}

    @classmethod
    def restored(cls, stored: Mapping[str, Any]) -> Document:
        """From what `stored` gave."""
        return cls(**{**stored, "read_at": datetime.fromisoformat(stored["read_at"])})


def document_key(url: str) -> str:
    """By what a document is kept: its URL may carry what nobody else should read."""
    return hashlib.sha256(url.encode()).hexdigest()
