"""What can go wrong, as exceptions. Decide by ``code`` and ``retryable``, show ``detail`` to people."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .models import Problem

DENIALS = frozenset(
    {
        "order_size_exceeded",
        "risk_locked",
        "daily_notional_exceeded",
        "daily_loss_exceeded",
        "trading_halted",
        "reduce_only",
    }
)
"""The codes of denials by a risk rule. A recorded denial uses up the client order id."""


class OrderRouterError(Exception):
    """The base of every exception of this package."""

    code: str = "error"
    """A word for programs: a code of the table of errors, or one that the subclass names."""
    status: int = 0
    """The HTTP status of the table of errors; 0 if no reply had one."""
    retryable: bool = False
    """Whether the same call, under the same id, can succeed later."""

    def __init__(self, detail: str, *, client_order_id: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        """A sentence that a person can act on."""
        self.client_order_id = client_order_id
        """The id of the order that the call was about, where there is one."""

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"


class ProblemError(OrderRouterError):
    """The router refused the call. A 5xx status means that this call sent nothing to a broker."""

    def __init__(self, problem: Problem, *, retryable: bool) -> None:
        super().__init__(problem.detail, client_order_id=problem.client_order_id)
        self.problem = problem
        """The whole problem document."""
        self.code = problem.code
        self.status = problem.status
        self.retryable = retryable
        self.title = problem.title
        self.field = problem.field
        """The field at fault, where there is one."""
        self.rule_id = problem.rule_id
        """The risk rule that denied the order, where there is one."""
        self.metadata: Mapping[str, Decimal | str] = problem.metadata
        """Values and limits that explain the problem."""


class OrderDenied(ProblemError):
    """A risk rule denied the order: nothing was sent. A changed order needs a new client order id.

    The exception is ``trading_halted`` for an order that a halt met in flight, whose id stays free.
    """


class NoReply(OrderRouterError):
    """No reply arrived in time. The outcome is unknown: send the same call again under the same id to learn it."""

    code = "no_reply"
    retryable = True


class NotConnected(OrderRouterError):
    """The client has no connection, because the program has not connected it or has disconnected it."""

    code = "not_connected"


class StreamGap(OrderRouterError):
    """The stream no longer has the entries after the position, or is a different stream.

    Read state and orders again, then follow from ``next_sequence``.
    """

    code = "stream_gap"

    def __init__(self, detail: str, *, next_sequence: int) -> None:
        super().__init__(detail)
        self.next_sequence = next_sequence
        """The first sequence that the stream still has, or will have."""


class MalformedReply(OrderRouterError):
    """A reply or event does not match the contract: client and router are of versions that do not fit."""

    code = "malformed_reply"
