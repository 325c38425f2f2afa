"""A typed client of order-router: submit, follow and cancel orders over NATS and REST.

``AsyncRouter`` is for programs with an event loop, ``Router`` for all others. Prices, quantities and amounts are
``decimal.Decimal``; a float is refused.
"""

from __future__ import annotations

from . import models
from ._codec import NumberInput
from ._durable import StoredIntent
from ._events import JournalEntry, JournalEvent
from ._follow import Follower
from ._time import RetryPolicy
from .client import AsyncRouter, Order, OrderKey
from .errors import (
    DENIALS,
    MalformedReply,
    NoReply,
    NotConnected,
    OrderDenied,
    OrderRouterError,
    ProblemError,
    StreamGap,
)
from .models import (
    ExecutionIntent,
    ExecutionReport,
    IntentRisk,
    LockScopeAccount,
    LockScopeAccountSymbol,
    LockScopeAll,
    LockScopeBroker,
    LockScopeSymbol,
    RiskSignal,
    RouterState,
)
from .options import Options
from .rest import RestClient
from .sync import Router, SyncFollower

__all__ = [
    "DENIALS",
    "AsyncRouter",
    "ExecutionIntent",
    "ExecutionReport",
    "Follower",
    "IntentRisk",
    "JournalEntry",
    "JournalEvent",
    "LockScopeAccount",
    "LockScopeAccountSymbol",
    "LockScopeAll",
    "LockScopeBroker",
    "LockScopeSymbol",
    "MalformedReply",
    "NoReply",
    "NotConnected",
    "NumberInput",
    "Options",
    "Order",
    "OrderDenied",
    "OrderKey",
    "OrderRouterError",
    "ProblemError",
    "RestClient",
    "RetryPolicy",
    "RiskSignal",
    "Router",
    "RouterState",
    "StoredIntent",
    "StreamGap",
    "SyncFollower",
    "models",
]
