"""One connection to NATS: requests that end in a reply, a problem, or the word that no reply came."""

from __future__ import annotations

import asyncio
import re
import urllib.parse
from collections.abc import Coroutine, Mapping
from typing import Any

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from ._codec import decode, parse
from ._faults import FAULTS
from .errors import DENIALS, NoReply, NotConnected, OrderDenied, ProblemError
from .models import Problem
from .subjects import ERROR_CODE

RECONNECT_WAIT_S = 0.25
PING_INTERVAL_S = 10
CLOSE_TIMEOUT_S = 5.0
CANCEL_ATTEMPTS = 5
CANCEL_WAIT_S = 0.2
MAX_WAITING_REQUESTS = 10_000
"""Requests in flight on one connection; further ones are refused with ``queue_full``."""
NOT_SENT = (
    nats.errors.MaxPayloadError,
    nats.errors.OutboundBufferLimitError,
    nats.errors.ConnectionClosedError,
    nats.errors.ConnectionDrainingError,
)
"""Errors that the library raises before it publishes."""
_DENIED_SUBJECT = re.compile(r'permissions violation for (?:publish|subscription) to "([^"]+)"', re.IGNORECASE)


def fault(code: str, detail: str, *, client_order_id: str | None = None) -> ProblemError:
    """Returns a problem that the client itself establishes, as the table of errors describes its code."""
    row = FAULTS[code]
    problem = Problem(
        type=f"/problems/{code}",
        title=row.title,
        status=row.status,
        detail=detail,
        code=code,
        client_order_id=client_order_id,
    )
    return ProblemError(problem, retryable=row.retryable)


def error_of(document: object) -> ProblemError:
    """Returns the exception for a problem document. A code that the table does not have is retryable if its status is
    429 or 5xx."""
    problem = decode(Problem, document)
    row = FAULTS.get(problem.code)
    retryable = row.retryable if row else problem.status == 429 or problem.status >= 500
    kind = OrderDenied if problem.code in DENIALS else ProblemError
    return kind(problem, retryable=retryable)


def without_secrets(url: str) -> str:
    """Returns a URL without the user and password that it may have."""
    parts = urllib.parse.urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}" if host else "the given URL"


class Bus:
    """A connection that reconnects by itself until it is closed."""

    def __init__(self, url: str) -> None:
        self.url = without_secrets(url)
        self.client = Client()
        self.disconnects = 0
        """How often the connection was lost. A follower of a stream compares it."""
        # By subject in lower case: the library passes the server's errors on in lower case.
        self._denied: dict[str, set[asyncio.Future[str]]] = {}
        self._waiting = 0
        self._last_error = "no connection"
        self._is_refused = False

    @classmethod
    async def connect(
        cls,
        url: str,
        *,
        name: str,
        user: str | None = None,
        password: str | None = None,
        token: str | None = None,
        credentials: str | None = None,
        inbox_prefix: str = "_INBOX",
        connect_timeout: float,
    ) -> Bus:
        """Connects. Raises ``ProblemError`` with ``bus_unavailable`` or ``not_entitled``."""
        bus = cls(url)
        connecting = bus.client.connect(
            servers=url,
            name=name,
            user=user,
            password=password,
            token=token,
            user_credentials=credentials,
            inbox_prefix=inbox_prefix,
            error_cb=bus._on_error,
            disconnected_cb=bus._on_disconnect,
            max_reconnect_attempts=-1,  # until closed; each call has its own time limit
            reconnect_time_wait=RECONNECT_WAIT_S,  # type: ignore[arg-type]  # declared int, slept for as it is
            ping_interval=PING_INTERVAL_S,
        )
        try:
            await _within(connecting, connect_timeout)
        except (nats.errors.Error, OSError, asyncio.TimeoutError) as error:
            await bus.close()
            refused = bus._is_refused or "authorization" in str(error).lower()
            reason = bus._last_error if isinstance(error, asyncio.TimeoutError) else str(error)
            detail = f"NATS at {bus.url} is out of reach: {reason}"
            raise fault("not_entitled" if refused else "bus_unavailable", detail) from None
        return bus

    async def close(self) -> None:
        """Closes the connection. Calls in flight end with ``bus_unavailable`` or ``NoReply``."""
        try:
            await _within(self.client.close(), CLOSE_TIMEOUT_S)
        except asyncio.TimeoutError:
            pass  # the server notices the end of the connection

    async def _on_error(self, error: Exception) -> None:
        self._last_error = str(error) or type(error).__name__
        self._is_refused |= "authorization" in self._last_error.lower()
        if found := _DENIED_SUBJECT.search(self._last_error):
            for waiting in self._denied.get(found[1].lower(), set()):
                if not waiting.done():
                    waiting.set_result(self._last_error)

    async def _on_disconnect(self) -> None:
        self.disconnects += 1

    async def request(
        self, subject: str, body: bytes, *, timeout: float, headers: Mapping[str, str] | None = None
    ) -> object:
        """Sends a request once and returns the document of the reply.

        Raises ``ProblemError`` if the reply is a problem, no responder is there (``no_worker``), NATS is known to be
        out of reach before anything was published (``bus_unavailable``), or the NATS user may not publish there
        (``not_entitled``); ``NoReply`` if the outcome is unknown.
        """
        message = await self.request_message(subject, body, timeout=timeout, headers=headers)
        document = parse(message.data)
        if message.headers and ERROR_CODE in message.headers:
            raise error_of(document)
        return document

    async def request_message(
        self, subject: str, body: bytes, *, timeout: float, headers: Mapping[str, str] | None = None
    ) -> Msg:
        """Does what ``request`` does, and returns the message of the reply, whatever it says."""
        self.require_connection()
        if self._waiting >= MAX_WAITING_REQUESTS:
            raise fault("queue_full", f"{MAX_WAITING_REQUESTS} requests are in flight on this connection")
        denied = self._expect_denial(subject)
        self._waiting += 1
        sent = dict(headers) if headers else None
        asking = asyncio.ensure_future(self.client.request(subject, body, timeout=timeout, headers=sent))
        try:
            both: set[asyncio.Future[Any]] = {asking, denied}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if denied.done() and not asking.done():
                raise fault("not_entitled", f"NATS refused: {denied.result()}")
            return asking.result()
        except nats.errors.NoRespondersError:
            raise fault("no_worker", f"nothing listens on {subject}; nothing was sent") from None
        except NOT_SENT as error:
            code = "payload_too_large" if isinstance(error, nats.errors.MaxPayloadError) else "bus_unavailable"
            raise fault(code, f"{error}; nothing was sent") from None
        except (nats.errors.Error, asyncio.TimeoutError) as error:
            # Also after a lost connection: the request may have been on its way.
            raise NoReply(f"no reply on {subject} within {timeout:.2f} s ({error})") from None
        finally:
            self._waiting -= 1
            await _cancelled(asking)
            self._forget_denied(subject, denied)

    def _expect_denial(self, subject: str) -> asyncio.Future[str]:
        """Returns a future that is done once the server says that this user may not publish to the subject."""
        denied: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._denied.setdefault(subject.lower(), set()).add(denied)
        return denied

    def _forget_denied(self, subject: str, denied: asyncio.Future[str]) -> None:
        denied.cancel()
        waiting = self._denied[subject.lower()]
        waiting.discard(denied)
        if not waiting:
            del self._denied[subject.lower()]

    def require_connection(self) -> None:
        """Raises ``ProblemError`` with ``bus_unavailable`` while there is no connection: nothing is published that the
        library would hold back through an outage. Raises ``NotConnected`` after ``close``."""
        if self.client.is_closed:
            raise NotConnected("the client is disconnected; nothing was sent")
        if not self.client.is_connected:
            raise fault("bus_unavailable", f"no connection to NATS at {self.url}; nothing was sent")

    async def publish(self, subject: str, body: bytes, *, timeout: float) -> None:
        """Publishes without a reply, and waits until the server has read it.

        Raises ``ProblemError`` (``bus_unavailable``, ``not_entitled``) or ``NoReply``.
        """
        self.require_connection()
        denied = self._expect_denial(subject)
        try:
            await self.client.publish(subject, body)
            await asyncio.wait_for(self.client.flush(), timeout)
            if denied.done():  # the server reports it before it answers the flush
                raise fault("not_entitled", f"NATS refused: {denied.result()}")
        except (nats.errors.Error, asyncio.TimeoutError) as error:
            raise NoReply(f"the server did not confirm a message on {subject}: {error}") from None
        finally:
            self._forget_denied(subject, denied)

    def new_inbox(self) -> str:
        """Returns a new subject under the inbox prefix of the connection."""
        return self.client.new_inbox()


async def _within(work: Coroutine[Any, Any, None], timeout: float) -> None:
    """Waits for a coroutine of the library. Raises ``asyncio.TimeoutError``.

    The library's loop of connection attempts can lose a cancellation; ``asyncio.wait_for`` would then never return.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=timeout)
        if task.done():
            return task.result()
        for _ in range(CANCEL_ATTEMPTS):
            task.cancel()
            await asyncio.wait({task}, timeout=CANCEL_WAIT_S)
            if task.done():
                break
        raise asyncio.TimeoutError
    finally:
        task.cancel()


async def _cancelled(task: asyncio.Future[Msg]) -> None:
    """Ends a request that is no longer awaited, without its error."""
    if task.done():
        return
    task.cancel()
    await asyncio.wait({task})
