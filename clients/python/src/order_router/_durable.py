"""The durable door: what the router replies to intents that a stream has stored."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass

import nats.errors
from nats.aio.msg import Msg

from ._bus import Bus
from .errors import NoReply
from .models import ExecutionIntent

MAX_AWAITED_REPLIES = 10_000
"""Stored intents whose replies are awaited; of more, the oldest are asked for with ``get`` instead."""


@dataclass(frozen=True)
class StoredIntent:
    """An intent that JetStream has stored. It is executed as soon as a worker is up, never after its deadline."""

    intent: ExecutionIntent
    """The intent as it was published, with its account and its client order id."""
    stream: str
    """The stream that has it."""
    sequence: int
    """Its sequence there."""
    reply_token: str
    """Where its reply is awaited."""


class DurableReplies:
    """One subscription for the replies to all stored intents. It begins with the first intent."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._inbox = bus.new_inbox()
        self._is_subscribed = False
        self._replies: OrderedDict[str, asyncio.Future[Msg]] = OrderedDict()
        self._count = 0

    async def expect(self) -> tuple[str, str]:
        """Returns a token for one reply, and the subject to name in ``Reply-To``. Raises ``NoReply``."""
        if not self._is_subscribed:
            try:
                await self._bus.client.subscribe(f"{self._inbox}.*", cb=self._on_reply)
            except nats.errors.Error as error:
                raise NoReply(f"the subscription for replies failed: {error}") from None
            self._is_subscribed = True
        self._count += 1
        token = str(self._count)
        self._replies[token] = asyncio.get_running_loop().create_future()
        if len(self._replies) > MAX_AWAITED_REPLIES:
            self._replies.popitem(last=False)[1].cancel()
        return token, f"{self._inbox}.{token}"

    async def wait(self, token: str, timeout: float) -> Msg | None:
        """Returns the first reply under a token; nothing if none arrives in time. It can be awaited again."""
        reply = self._replies.get(token)
        if reply is None:
            return None
        await asyncio.wait({reply}, timeout=timeout)
        return reply.result() if reply.done() and not reply.cancelled() else None

    def forget(self, token: str) -> None:
        """Stops waiting for a reply that cannot come or was read."""
        if reply := self._replies.pop(token, None):
            reply.cancel()

    async def _on_reply(self, message: Msg) -> None:
        reply = self._replies.get(message.subject.rpartition(".")[2])
        if reply is not None and not reply.done():
            reply.set_result(message)
