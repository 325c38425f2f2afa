"""Sends a call again where that is safe and can help, and never longer than its deadline allows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ._time import Deadline, RetryPolicy
from .errors import NoReply, OrderRouterError

T = TypeVar("T")
SHORTEST_WAIT_S = 0.05
"""An attempt with less time for its reply is not worth sending."""


async def repeat(
    send: Callable[[float], Awaitable[T]],
    deadline: Deadline,
    policy: RetryPolicy,
    *,
    is_settled: Callable[[T], bool] = lambda _: True,
) -> T:
    """Calls ``send`` with the seconds to wait for its reply until it returns a settled answer.

    Only a call that has the same effect however often it arrives may be repeated. Retries follow a retryable fault, a
    lost reply, or an answer that is not settled (a receipt). While the outcome is uncertain, the call may be sent until
    ``policy.grace`` after the deadline.

    Raises the last error. An uncertain outcome outlives later errors: a call that may have arrived is never reported as
    one that was not sent.
    """
    unsettled: list[T] = []
    lost: NoReply | None = None
    failure: OrderRouterError | None = None
    for attempt in range(1, policy.attempts + 1):
        wait = min(policy.reply_timeout, deadline.remaining() + policy.grace)
        try:
            answer = await send(max(wait, SHORTEST_WAIT_S))
        except NoReply as error:
            lost = failure = error
        except OrderRouterError as error:
            if not error.retryable:
                raise
            failure = error
        else:
            if is_settled(answer):
                return answer
            unsettled = [answer]
        pause = policy.delay(attempt)
        is_uncertain = lost is not None or bool(unsettled)
        left = deadline.remaining() + (policy.grace if is_uncertain else 0.0)
        if left <= pause + SHORTEST_WAIT_S:
            break
        if attempt < policy.attempts:
            await asyncio.sleep(pause)
    if unsettled:
        return unsettled[0]
    if lost is not None:
        raise lost
    assert failure is not None  # an attempt that returns no answer sets it
    raise failure
