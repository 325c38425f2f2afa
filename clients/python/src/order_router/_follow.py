"""Follows a JetStream stream: every entry once, in order, from a sequence on, through lost connections."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Any, Generic, TypeVar

import nats.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from ._bus import Bus, fault
from ._events import RawEntry
from .errors import MalformedReply, NoReply, OrderRouterError, ProblemError, StreamGap

T_co = TypeVar("T_co", covariant=True)

BATCH = 256
"""Entries that the server may send ahead of the reader: the size of the buffer."""
PULL_EXPIRES_S = 30.0
HEARTBEAT_S = 1.0
SILENCE_MAX_S = 2.5 * HEARTBEAT_S
"""Without a heartbeat for this long the consumer is taken for lost and created again."""
CONSUMER_IDLE_S = 30.0
"""The server removes a consumer that is not pulled from for this long, such as one of a client that died."""
API_TIMEOUT_S = 2.0
FIRST_DELAY_S = 0.1
MAX_DELAY_S = 2.0
NANOSECONDS = 1_000_000_000


class Follower(AsyncIterator[T_co], Generic[T_co]):
    """An iterator over a stream's entries that never ends by itself.

    ``async with`` fixes the place at which it begins before anything else is done; without it, it begins with the first
    ``async for``. ``sequence`` is the place to continue from. One task reads a follower at a time.
    """

    def __init__(
        self,
        bus: Bus,
        stream: str,
        subject: str | None,
        convert: Callable[[RawEntry], T_co | None],
        *,
        after: int | None,
        outage_timeout: float,
    ) -> None:
        if after is not None and after < 0:
            raise ValueError(f"after is a sequence of at least 0, not {after}")
        if outage_timeout <= 0:
            raise ValueError("outage_timeout is above 0")
        self._bus, self._stream, self._subject, self._convert = bus, stream, subject, convert
        self._position = after
        self._outage_timeout = outage_timeout
        self._created: str | None = None
        self._consumer: _Consumer | None = None
        self._connecting: asyncio.Task[_Consumer] | None = None
        self._skipping: asyncio.Task[None] | None = None
        self._failing_since: float | None = None
        self._delay = FIRST_DELAY_S
        self._is_closed = False

    @property
    def sequence(self) -> int:
        """The sequence of the last entry that was read, or the place where the follower began: ``after`` of a follower
        that is to continue here. Raises ``RuntimeError`` before the beginning is fixed."""
        if self._position is None:
            raise RuntimeError("the follower has not begun: enter it with `async with`, or read from it")
        return self._position

    async def __aenter__(self) -> Follower[T_co]:
        await self._connected()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Ends the follower and its consumer on the server. Reading from it then ends the iteration."""
        self._is_closed = True
        tasks: set[asyncio.Task[Any]] = {task for task in (self._connecting, self._skipping) if task is not None}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._drop()

    def __aiter__(self) -> Follower[T_co]:
        return self

    async def __anext__(self) -> T_co:
        """Waits for the next entry.

        Raises ``StreamGap`` if entries after ``sequence`` are lost, ``ProblemError`` with ``bus_unavailable`` after an
        outage of ``outage_timeout`` and with ``not_entitled`` if the NATS user may not read the stream,
        ``NotConnected`` after ``disconnect``, and ``MalformedReply`` for an entry that does not match the contract. The
        next read continues; after ``MalformedReply``, with the entry behind it.
        """
        while not self._is_closed:
            entry = await self._next_entry()
            if entry is None:
                continue
            self._position = entry.sequence
            converted = self._convert(entry)
            if converted is not None:
                return converted
        raise StopAsyncIteration

    async def read(self, timeout: float) -> T_co | None:
        """Returns the next entry, or ``None`` if none arrives within ``timeout`` seconds.

        Raises what iterating raises.
        """
        try:
            return await asyncio.wait_for(self._next_or_none(), timeout)
        except asyncio.TimeoutError:
            return None

    async def _next_or_none(self) -> T_co | None:
        try:
            return await self.__anext__()
        except StopAsyncIteration:
            return None

    async def _next_entry(self) -> RawEntry | None:
        """Returns the next entry, or nothing where the consumer has to be checked again."""
        consumer = self._consumer
        if consumer is None or consumer.is_lost:
            consumer = await self._connected()
        entry = await consumer.next_entry()
        if entry is None and not consumer.is_lost and (self._skipping is None or self._skipping.done()):
            self._skipping = asyncio.create_task(self._skip_foreign(consumer))
        return entry

    async def _skip_foreign(self, consumer: _Consumer) -> None:
        """Moves the position past entries of other subjects, so that their archiving is no gap."""
        try:
            stream = await self._api(f"STREAM.INFO.{self._stream}", {})
            info = await self._api(f"CONSUMER.INFO.{self._stream}.{consumer.name}", {})
        except OrderRouterError:
            return
        if stream["created"] != self._created:
            return  # the consumer is gone, too; the next one finds the gap
        is_all_read = info["delivered"]["consumer_seq"] == consumer.received and not consumer.has_entries
        if info["num_pending"] == 0 and is_all_read and consumer is self._consumer:
            self._position = max(self.sequence, stream["state"]["last_seq"])

    async def _connected(self) -> _Consumer:
        """Returns a consumer behind the position.

        A read that is cancelled does not stop its creation: otherwise a program that reads with short timeouts would
        never get one.
        """
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._connect())
        connecting = self._connecting
        try:
            return await asyncio.shield(connecting)
        finally:
            if connecting.done():
                self._connecting = None

    async def _connect(self) -> _Consumer:
        """Creates a consumer behind the position, trying again until ``outage_timeout``."""
        lost, why = self._consumer, "its consumers are lost"
        if lost is None or lost.is_heard:
            self._failing_since, self._delay = None, FIRST_DELAY_S
        is_first = lost is None or lost.is_heard
        while True:
            await self._drop()
            if not is_first:
                await self._pause(why)
            is_first = False
            try:
                self._consumer = await self._create()
                return self._consumer
            except (StreamGap, MalformedReply):
                raise
            except OrderRouterError as error:
                if not error.retryable:
                    raise
                why = error.detail

    async def _pause(self, why: str) -> None:
        """Waits before a further attempt. Raises ``ProblemError`` once the stream has failed for ``outage_timeout``."""
        now = time.monotonic()
        self._failing_since = self._failing_since or now
        if now - self._failing_since + self._delay > self._outage_timeout:
            self._failing_since, self._delay = None, FIRST_DELAY_S
            detail = f"{self._stream} is out of reach for {self._outage_timeout:.0f} s: {why}"
            raise fault("bus_unavailable", detail)
        await asyncio.sleep(self._delay)
        self._delay = min(2 * self._delay, MAX_DELAY_S)

    async def _create(self) -> _Consumer:
        disconnects = self._bus.disconnects
        stream = await self._api(f"STREAM.INFO.{self._stream}", {})
        first, last = stream["state"]["first_seq"], stream["state"]["last_seq"]
        if self._created not in (None, stream["created"]):
            raise self._gap(f"{self._stream} was created again at {stream['created']}", 0)
        self._created = stream["created"]
        if self._position is None:
            self._position = last
        if self._position > last:
            detail = f"{self._stream} ends at {last}, before {self._position}: it lost entries, or is another stream"
            raise self._gap(detail, last)
        if self._position + 1 < first:
            detail = f"{self._stream} begins at {first}: the entries from {self._position + 1} on are archived or lost"
            raise self._gap(detail, first - 1)
        name = f"python-{secrets.token_hex(8)}"
        consumer = _Consumer(self._bus, self._stream, name, disconnects)
        await consumer.subscribe()
        config: dict[str, object] = {
            "name": name,
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": self._position + 1,
            "ack_policy": "none",
            "max_waiting": 2,
            "inactive_threshold": int(CONSUMER_IDLE_S * NANOSECONDS),
            "mem_storage": True,
            "num_replicas": 1,
        }
        if self._subject:
            config["filter_subject"] = self._subject
        try:
            request: dict[str, object] = {"stream_name": self._stream, "config": config, "action": "create"}
            await self._api(f"CONSUMER.CREATE.{self._stream}.{name}", request)
        except BaseException:
            await consumer.close()
            raise
        return consumer

    def _gap(self, detail: str, position: int) -> StreamGap:
        self._position, self._created = position, None  # the next read continues with what there is
        return StreamGap(detail, next_sequence=position + 1)

    async def _api(self, call: str, request: dict[str, object]) -> Any:
        """Calls JetStream's API. Raises ``ProblemError``, ``NoReply`` or ``MalformedReply``."""
        body = json.dumps(request).encode() if request else b""
        try:
            message = await self._bus.request_message(f"$JS.API.{call}", body, timeout=API_TIMEOUT_S)
        except ProblemError as error:
            if error.code != "no_worker":
                raise
            raise fault("bus_unavailable", "JetStream does not reply") from None
        reply = json.loads(message.data)
        if refusal := reply.get("error"):
            detail = f"JetStream refused {call}: {refusal.get('description')}"
            if refusal.get("code") == 404 and call.startswith("STREAM.INFO"):
                detail = f"there is no stream {self._stream}: {detail}"
            raise fault("bus_unavailable", detail)
        return reply

    async def _drop(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.close()


class _Consumer:
    """A pull consumer on the server, and the entries that it has sent and that are not read yet."""

    def __init__(self, bus: Bus, stream: str, name: str, disconnects: int) -> None:
        self._bus, self._stream, self.name = bus, stream, name
        self._disconnects = disconnects
        self._inbox = bus.new_inbox()
        self._subscription: Subscription | None = None
        self._messages: deque[Msg] = deque()
        self._arrival = asyncio.Event()
        self._pull = 0
        self._wanted = 0
        self._ends = 0.0
        self._heard = time.monotonic()
        self.received = 0
        """The consumer's own sequence of the last entry that was read."""
        self.is_lost = False
        self.is_heard = False
        """Whether the consumer has worked: an entry, a heartbeat or the end of a pull has arrived."""

    @property
    def has_entries(self) -> bool:
        return any(message.reply for message in self._messages)

    async def subscribe(self) -> None:
        try:
            self._subscription = await self._bus.client.subscribe(f"{self._inbox}.*", cb=self._on_message)
        except nats.errors.Error as error:
            raise NoReply(f"the subscription failed: {error}") from None

    async def close(self) -> None:
        """Ends subscription and consumer. The server removes a consumer that cannot be reached by itself."""
        self.is_lost = True
        self._arrival.set()
        if self._subscription is None or not self._bus.client.is_connected:
            return
        try:
            await self._subscription.unsubscribe()
            await self._bus.client.publish(f"$JS.API.CONSUMER.DELETE.{self._stream}.{self.name}")
        except nats.errors.Error:
            pass  # the server removes an unused consumer after CONSUMER_IDLE_S

    async def _on_message(self, message: Msg) -> None:
        self._messages.append(message)
        self._arrival.set()

    async def next_entry(self) -> RawEntry | None:
        """Returns the next entry; nothing after a while without one, or if the consumer is lost."""
        while not self.is_lost:
            if self._messages:
                entry = self._take(self._messages.popleft())
                if entry is not None:
                    return entry
                continue
            if self._disconnects != self._bus.disconnects or time.monotonic() - self._heard > SILENCE_MAX_S:
                self.is_lost = True
                return None
            if self._wanted <= 0 or time.monotonic() > self._ends:
                is_idle = self._pull > 0 and self._wanted == BATCH
                await self._ask()
                if is_idle:
                    return None
            self._arrival.clear()
            try:
                await asyncio.wait_for(self._arrival.wait(), HEARTBEAT_S / 2)
            except asyncio.TimeoutError:
                pass
        return None

    async def _ask(self) -> None:
        """Asks the server for a batch of entries."""
        self._pull += 1
        self._wanted = BATCH
        self._ends = time.monotonic() + PULL_EXPIRES_S
        self._heard = time.monotonic()
        request = {
            "batch": BATCH,
            "expires": int(PULL_EXPIRES_S * NANOSECONDS),
            "idle_heartbeat": int(HEARTBEAT_S * NANOSECONDS),
        }
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self.name}"
        try:
            self._bus.require_connection()
            await self._bus.client.publish(subject, json.dumps(request).encode(), f"{self._inbox}.{self._pull}")
        except (nats.errors.Error, OrderRouterError):
            self.is_lost = True

    def _take(self, message: Msg) -> RawEntry | None:
        """Returns a message's entry, or nothing for a status of the server."""
        self._heard = time.monotonic()
        status = (message.headers or {}).get("Status")
        if status is not None and not message.reply.startswith("$JS.ACK."):
            self._on_status(status, message.subject)
            return None
        metadata = message.metadata
        if metadata.sequence.consumer != self.received + 1:
            self.is_lost = True  # entries went to a connection that was lost: they are read again
            return None
        self.received, self.is_heard = metadata.sequence.consumer, True
        self._wanted -= 1
        return RawEntry(metadata.sequence.stream, message.subject, metadata.timestamp, message.data)

    def _on_status(self, status: str, inbox: str) -> None:
        if status in ("100", "404", "408"):  # a heartbeat, or the end of a pull
            self.is_heard = True
            if status != "100" and inbox.endswith(f".{self._pull}"):
                self._ends = 0.0
            return
        self.is_lost = True  # the consumer is gone, or the server sheds load
