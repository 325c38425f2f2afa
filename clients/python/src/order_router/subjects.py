"""The names of the bus: subjects, streams and headers."""

from __future__ import annotations

import re
import urllib.parse

STATE_GET = "router.state.get"
STATE_SET = "router.state.set"
LOCKS_LIST = "router.locks.list"
LOCKS_SET = "router.locks.set"
LOCKS_LIFT = "router.locks.lift"
BROKERS = "router.brokers"
HEALTH = "router.health"
ADJUST = "router.adjust"
LIMITS_GET = "router.limits.get"

JOURNAL_STREAM = "ORDER_REPORTS"
ALERTS_STREAM = "RISK_ALERTS"

DEADLINE = "Deadline"
REPLY_TO = "Reply-To"
ERROR_CODE = "Nats-Service-Error-Code"
"""A reply is a problem exactly if this header is present."""

NO_ACCOUNT = "_"
"""The token in place of the account where there is none."""

_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,64}")
_VENUE = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")


def _token(value: str, name: str, *, any_allowed: bool = False) -> str:
    """Returns a value that is one token of a subject. Raises ``ValueError`` for anything else: a dot or a wildcard
    would address another subject."""
    if (any_allowed and value == "*") or _TOKEN.fullmatch(value):
        return value
    raise ValueError(f"{name} is 1-64 characters of [A-Za-z0-9_-], not {value!r}")


def order(operation: str, broker: str, account: str) -> str:
    """Returns the subject of ``submit``, ``intents``, ``get``, ``cancel``, ``replace``, ``cancel_all`` or ``note``."""
    return f"orders.{operation}.{_token(broker, 'broker')}.{_token(account, 'account')}"


def heartbeat(account: str) -> str:
    """Returns the subject of an account's heartbeats."""
    return f"orders.heartbeat.{_token(account, 'account')}"


def reports(broker: str = "*", account: str = "*") -> str:
    """Returns the subject of journaled reports; ``*`` matches every broker or account."""
    broker = _token(broker, "broker", any_allowed=True)
    return f"orders.reports.{broker}.{_token(account, 'account', any_allowed=True)}"


def alerts(level: str = "*", account: str = "*") -> str:
    """Returns the subject of risk signals; ``*`` matches every level or account."""
    level = _token(level, "level", any_allowed=True)
    return f"risk.alerts.{level}.{_token(account, 'account', any_allowed=True)}"


def quote(venue: str, symbol: str) -> str:
    """Returns the subject of an instrument's reference prices. The venue's dots make further tokens."""
    if not _VENUE.fullmatch(venue):
        raise ValueError(f"a venue is tokens of [A-Za-z0-9_-] with dots between them, not {venue!r}")
    normalised = re.sub(r"[/\- ]", "", symbol).upper()
    if not normalised:
        raise ValueError("symbol is empty")
    return f"market.quotes.{venue}.{urllib.parse.quote(normalised, safe='').replace('.', '%2E').replace('~', '%7E')}"
