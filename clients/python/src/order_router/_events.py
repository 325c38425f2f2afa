"""Entries of the journal: what happened, in the order in which it is on the stream."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from ._codec import decode, parse
from .errors import MalformedReply
from .models import (
    AdjustmentEvent,
    BalanceEvent,
    DayEvent,
    EnvironmentEvent,
    ExecutionReport,
    JournalLossEvent,
    LimitsEvent,
    LockEvent,
    NoteEvent,
    RiskSignal,
    StateEvent,
    SubmissionEvent,
)

MAX_ORDERS_REMEMBERED = 100_000
"""Orders whose newest version is remembered, so that a repeated report is left out."""

KnownEvent = (
    ExecutionReport
    | StateEvent
    | LockEvent
    | SubmissionEvent
    | AdjustmentEvent
    | NoteEvent
    | DayEvent
    | JournalLossEvent
    | BalanceEvent
    | EnvironmentEvent
    | LimitsEvent
)
"""An event of a kind that this version of the package knows."""

JournalEvent = KnownEvent | Mapping[str, object]
"""What an entry holds. A kind that a newer router added is the JSON object as it is."""

_EVENTS: dict[str, type[KnownEvent]] = {
    "report": ExecutionReport,
    "state": StateEvent,
    "lock": LockEvent,
    "submitting": SubmissionEvent,
    "released": SubmissionEvent,
    "adjustment": AdjustmentEvent,
    "note": NoteEvent,
    "day": DayEvent,
    "journal": JournalLossEvent,
    "balance": BalanceEvent,
    "environment": EnvironmentEvent,
    "limits": LimitsEvent,
}


@dataclass(frozen=True)
class RawEntry:
    """A stored message of a stream."""

    sequence: int
    subject: str
    stored_at: datetime
    body: bytes


@dataclass(frozen=True)
class JournalEntry:
    """One entry of the journal."""

    sequence: int
    """The entry's sequence in the stream. Follow from it to continue after this entry."""
    kind: str
    """``report``, or the kind of the event: ``state``, ``lock``, ``submitting``, ``released``, ``adjustment``,
    ``note``, ``day``, ``journal``, ``limits``."""
    subject: str
    """The subject that the entry was published on."""
    stored_at: datetime
    """When the stream stored the entry."""
    event: JournalEvent
    """The content."""


def journal_entry(entry: RawEntry) -> JournalEntry:
    """Decodes an entry of the journal. Raises ``MalformedReply``."""
    tokens = entry.subject.split(".")
    kind = "report" if tokens[1:2] == ["reports"] else ".".join(tokens[2:3])
    document = parse(entry.body)
    event: JournalEvent
    if kind in _EVENTS:
        event = decode(_EVENTS[kind], document)
    elif isinstance(document, dict):
        event = document
    else:
        raise MalformedReply(f"entry {entry.sequence} is not a JSON object")
    return JournalEntry(entry.sequence, kind, entry.subject, entry.stored_at, event)


def risk_signal(entry: RawEntry) -> RiskSignal:
    """Decodes an entry of the alerts' stream. Raises ``MalformedReply``."""
    return decode(RiskSignal, parse(entry.body))


class NewReports:
    """Decodes reports and leaves out repeated and outdated ones: of each order, only ever higher versions pass."""

    def __init__(self) -> None:
        self._versions: OrderedDict[str, int] = OrderedDict()

    def __call__(self, entry: RawEntry) -> ExecutionReport | None:
        report = decode(ExecutionReport, parse(entry.body))
        if report.version <= self._versions.get(report.order_id, -1):
            return None
        self._versions[report.order_id] = report.version
        self._versions.move_to_end(report.order_id)
        if len(self._versions) > MAX_ORDERS_REMEMBERED:
            self._versions.popitem(last=False)
        return report
