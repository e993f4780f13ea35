"""What the sandbox's systems are like where they differ from the well-behaved default: one switch each.

Belongs here: the switches, and what each sender of messages does to the facts it sends (sources 3.4).
Does not belong here: playing them (see `messages.py`, `portal_search.py`, `broken.py`, `server.py`),
nor what goes wrong on a schedule (see `faults.py`).

No switch changes what is true: the truth stays what happened, whatever a sender makes of it. Only with
the default switches do the three sources together tell exactly the truth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

PersonalityName = Literal["honest", "td", "opencps"]


@dataclass(frozen=True, kw_only=True)
class Personality:
    """What a sender of messages does to the facts; everything off is honest."""

    #: Statuses 5, 6 and 8 are sent as 9, in records and in progress: what waits looks finished.
    paused_looks_finished: bool = False
    #: A dossier without a promised return gets a finished step right after its reception.
    invents_finished_step: bool = False
    #: Where a result has a code but no file, the first component's file is sent as the result.
    sends_component_as_result: bool = False
    #: Every uploaded file counts as digitised.
    calls_uploads_digitised: bool = False
    #: Whoever has an identity number (here: everybody) is said to have reused the first component.
    calls_first_component_reused: bool = False
    #: Any paid request is sent as paid online, however it was paid.
    calls_any_payment_online: bool = False
    #: The account is never verified by VNeID.
    denies_vneid: bool = False
    #: NgayNopHoSo is the reception.
    submits_on_reception: bool = False
    #: One dossier in so many goes out under a random code, remembered in MaHoSoKhac; 0 for none.
    substitutes_one_in: int = 0
    #: One dossier in so many was imported from an older system and is never sent; 0 for none.
    skips_one_in: int = 0
    #: DanhSachLePhi is empty.
    omits_fees: bool = False
    #: MaThanhPhanHoSo of every paper is blank.
    blanks_component_codes: bool = False
    #: The flags of the newer contract are not sent at all, neither the record's nor its papers'.
    omits_flags: bool = False
    #: Only the latest action of a dossier is sent as progress, not what came before it since the last sending.
    sends_latest_step_only: bool = False


PERSONALITIES: Mapping[PersonalityName, Personality] = {
    "honest": Personality(),
    "td": Personality(
        paused_looks_finished=True,
        invents_finished_step=True,
        sends_component_as_result=True,
        calls_uploads_digitised=True,
        calls_first_component_reused=True,
        calls_any_payment_online=True,
        denies_vneid=True,
        submits_on_reception=True,
        substitutes_one_in=20,
        skips_one_in=101,
    ),
    "opencps": Personality(
        omits_fees=True,
        blanks_component_codes=True,
        omits_flags=True,
        sends_latest_step_only=True,
    ),
}


@dataclass(frozen=True, kw_only=True)
class Traits:
    """The switches of one sandbox."""

    #: Who sends the messages.
    personality: PersonalityName = "honest"
    #: How many records stand beside the dossiers that no reader can accept (see `broken.py`).
    broken: int = 0
    #: After the clock moved, so many replies of the portal's list still show the rows of before. Their
    #: total is already of the new state, and so are the dossier's own page, its files and its payment.
    index_lag: int = 0
    #: Hours from UTC in which the portal's index keeps its days: 0, as Liferay's JVM commonly runs, or 7.
    index_zone_hours: int = 0
    #: Agencies that the portal shows its reader while the query names none; empty for all.
    scope: tuple[str, ...] = ()
    #: Replies are compressed for whoever accepts gzip.
    gzip: bool = False


#: The well-behaved default.
DEFAULT = Traits()
