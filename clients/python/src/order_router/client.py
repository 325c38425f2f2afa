"""The asynchronous client: orders, control and events over NATS; positions and the order log over REST."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from types import TracebackType
from typing import TypeVar

from . import subjects
from ._bus import Bus, error_of, fault
from ._codec import NumberInput, decode, dump, parse
from ._control import ControlCalls
from ._durable import DurableReplies, StoredIntent
from ._events import JournalEntry, NewReports, RawEntry, journal_entry, risk_signal
from ._follow import Follower
from ._retry import repeat
from ._time import Deadline
from .errors import MalformedReply, NoReply, NotConnected, OrderRouterError, ProblemError
from .models import (
    CancelAllAnswer,
    CancelAllRequest,
    ClosePositionAnswer,
    ExecutionIntent,
    ExecutionReport,
    HeartbeatAnswer,
    HeartbeatRequest,
    Holding,
    Level,
    MarketQuote,
    OrderReference,
    PositionsAnswer,
    ReplaceRequest,
    RiskSignal,
)
from .options import Options
from .rest import RestClient

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class OrderKey:
    """Names an order: its broker, and either of its two ids."""

    broker: str
    order_id: str | None = None
    """The router's id."""
    client_order_id: str | None = None
    """The caller's id, which belongs to an account."""
    account: str | None = None
    """The account; ``Options.account`` if absent."""


Order = ExecutionReport | OrderKey


class AsyncRouter(ControlCalls):
    """A client of one router. ``async with`` connects and disconnects.

    Methods raise ``OrderRouterError``: ``ProblemError`` where the router refused, ``NoReply`` where the outcome is
    unknown.
    """

    def __init__(self, options: Options | None = None) -> None:
        self.options = options or Options()
        self._bus: Bus | None = None
        self._replies: DurableReplies | None = None
        self.rest = self._new_rest()
        """The calls that only REST has, such as the order log."""

    async def __aenter__(self) -> AsyncRouter:
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.disconnect()

    async def connect(self) -> None:
        """Connects to NATS. From then on the connection is restored by itself. Raises ``ProblemError``."""
        if self._bus is not None:
            return
        options = self.options
        self._bus = await Bus.connect(
            options.nats_url,
            name=options.name,
            user=options.nats_user,
            password=options.nats_password,
            token=options.nats_token,
            credentials=options.nats_credentials,
            inbox_prefix=options.inbox_prefix,
            connect_timeout=options.connect_timeout,
        )
        self._replies = DurableReplies(self._bus)
        if self.rest.is_closed:
            self.rest = self._new_rest()

    async def disconnect(self) -> None:
        """Closes all connections. Orders are not affected."""
        bus, self._bus = self._bus, None
        if bus is not None:
            await bus.close()
        await self.rest.aclose()

    def _new_rest(self) -> RestClient:
        return RestClient(self.options.http_url, api_key=self.options.api_key, timeout=self.options.timeout)

    @property
    def bus(self) -> Bus:
        """The connection to NATS. Raises ``NotConnected`` before ``connect`` and after ``disconnect``."""
        if self._bus is None:
            raise NotConnected("use `async with`, or await connect()")
        return self._bus

    async def submit(self, intent: ExecutionIntent, *, timeout: float | None = None) -> ExecutionReport:
        """Submits an order through the request door and returns its report.

        The intent gets a client order id if it has none. It is sent again under that id after a retryable fault, a lost
        reply or a receipt, until ``timeout``: the router sends it to a broker at most once. The result can be a report
        in status ``unknown``, or a receipt (``is_receipt``): the order may be at its venue.

        Raises ``OrderDenied`` and ``ProblemError``: nothing was sent. Raises ``NoReply`` if the outcome is unknown:
        call ``submit`` with the same intent and id, or ``get``. The exception has the id.
        """
        intent = self._identified(intent)
        subject = subjects.order("submit", intent.broker, str(intent.account_id))
        return await self._order_call(subject, dump(intent), intent.client_order_id, timeout)

    async def submit_durable(self, intent: ExecutionIntent, *, timeout: float | None = None) -> StoredIntent:
        """Publishes an order to the durable door and returns once it is stored, even with no worker up.

        ``timeout`` (default ``Options.durable_timeout``) is how long the order may be executed. Read its report with
        ``wait_report``. Raises ``ProblemError`` (nothing was stored) or ``NoReply`` (it may be stored: call again with
        the same intent and id).
        """
        intent, bus = self._identified(intent), self.bus
        assert self._replies is not None  # set with the bus
        executable = Deadline(self.options.durable_timeout if timeout is None else timeout)
        subject, body = subjects.order("intents", intent.broker, str(intent.account_id)), dump(intent)
        token, reply_to = await self._replies.expect()
        headers = {subjects.DEADLINE: executable.header, subjects.REPLY_TO: reply_to}

        async def send(wait: float) -> tuple[str, int]:
            try:
                document = await bus.request(subject, body, timeout=wait, headers=headers)
            except ProblemError as error:
                if error.code != "no_worker":
                    raise
                detail = f"no stream accepts intents for {intent.broker}: is the broker enabled? Nothing was stored"
                raise fault("bus_unavailable", detail, client_order_id=intent.client_order_id) from None
            return _acknowledgement(document)

        try:
            stream, sequence = await repeat(send, Deadline(self.options.timeout), self.options.retry)
        except Exception as error:
            self._replies.forget(token)
            _name_order(error, intent.client_order_id)
            raise
        return StoredIntent(intent=intent, stream=stream, sequence=sequence, reply_token=token)

    async def wait_report(self, stored: StoredIntent, *, timeout: float | None = None) -> ExecutionReport:
        """Returns the first report of a stored intent. It waits ``timeout`` seconds (default
        ``Options.durable_timeout``) for the router's reply, and then asks with ``get``.

        Raises ``ProblemError`` for an intent that was refused or denied, ``NoReply`` for one without a report so far.
        """
        assert self._replies is not None  # set with the bus, and there is no stored intent without one
        limit = self.options.durable_timeout if timeout is None else timeout
        message = await self._replies.wait(stored.reply_token, limit)
        if message is not None:
            document = parse(message.data)
            if message.headers and subjects.ERROR_CODE in message.headers:
                raise error_of(document)
            return decode(ExecutionReport, document)
        intent = stored.intent
        try:
            return await self.get(OrderKey(broker=intent.broker, client_order_id=intent.client_order_id,
                                           account=intent.account_id))  # fmt: skip
        except ProblemError as error:
            if error.code != "unknown_order":
                raise
        detail = f"no report within {limit:.1f} s; the intent is stored as {stored.sequence} of {stored.stream}"
        raise NoReply(detail, client_order_id=intent.client_order_id)

    async def get(self, order: Order, *, timeout: float | None = None) -> ExecutionReport:
        """Returns an order's current report. Raises ``ProblemError`` with ``unknown_order`` if there is none."""
        subject, body, client_order_id = self._named("get", order)
        return await self._order_call(subject, body, client_order_id, timeout)

    async def cancel(self, order: Order, *, timeout: float | None = None) -> ExecutionReport:
        """Cancels an order and returns its report. An order that a venue did not cancel is still open there.

        A cancel is sent again after a lost reply. Raises ``ProblemError`` with ``order_closed`` for an order that had
        ended before the call, ``unknown_order``, and others.
        """
        subject, body, client_order_id = self._named("cancel", order)
        is_repeated = False
        deadline = self._deadline(timeout)

        async def send(wait: float) -> ExecutionReport:
            nonlocal is_repeated
            was_repeated, is_repeated = is_repeated, True
            headers = {subjects.DEADLINE: deadline.header}
            try:
                reply = await self.bus.request(subject, body, timeout=wait, headers=headers)
            except ProblemError as error:
                if not (was_repeated and error.code == "order_closed"):
                    raise
                return await self.get(order, timeout=timeout)  # an earlier attempt ended it
            return decode(ExecutionReport, reply)

        try:
            return await repeat(send, deadline, self.options.retry)
        except Exception as error:
            _name_order(error, client_order_id)
            raise

    async def replace(
        self,
        order: Order,
        *,
        price: NumberInput | None = None,
        quantity: NumberInput | None = None,
        replace_id: str | None = None,
        timeout: float | None = None,
    ) -> ExecutionReport:
        """Gives what is open of a limit order a new price, a new quantity of the whole order, or both.

        ``report.replace.state`` is the outcome; ``pending`` and ``unknown`` are not final: call it again with the same
        ``replace_id``, which is sent again after a lost reply and done once. Without one, a new id is made for the
        call. Raises ``ProblemError`` with ``order_closed``, ``not_replaced``, ``replace_in_flight``,
        ``replace_id_conflict``, or the problem of the rule that stops the new terms: the order keeps its terms.
        """
        subject, body, client_order_id = self._named("replace", order)
        reference = decode(OrderReference, parse(body))
        request = ReplaceRequest(
            order_id=reference.order_id,
            client_order_id=reference.client_order_id,
            price=price,
            quantity=quantity,
            replace_id=replace_id or str(uuid.uuid4()),
        )
        return await self._order_call(subject, dump(request), client_order_id, timeout)

    async def cancel_all(
        self, broker: str, *, account: str | None = None, symbol: str | None = None, timeout: float | None = None
    ) -> CancelAllAnswer:
        """Cancels every open order of an account at a broker, or those in one symbol.

        Call it again while ``remaining_total`` is above 0. After a lost reply it is sent again, and ``cancelled`` then
        leaves out what the first call cancelled.
        """
        subject = subjects.order("cancel_all", broker, account or self.options.account)
        body = dump(CancelAllRequest(symbol=symbol))
        return decode(CancelAllAnswer, await self._call(subject, body, timeout))

    async def heartbeat(
        self,
        timeout_ms: int,
        *,
        account: str | None = None,
        actor: str | None = None,
        reason: str | None = None,
        timeout: float | None = None,
    ) -> HeartbeatAnswer:
        """Keeps the account's dead man's switch from firing for ``timeout_ms`` milliseconds; 0 disarms it.

        When the switch fires, the account's openings are locked and its open orders cancelled. Disarming needs a
        ``reason``. After a lost reply the heartbeat is sent again.
        """
        subject = subjects.heartbeat(account or self.options.account)
        body = dump(HeartbeatRequest(timeout_ms=timeout_ms, actor=actor, reason=reason))
        return decode(HeartbeatAnswer, await self._call(subject, body, timeout))

    async def positions(self) -> PositionsAnswer:
        """Lists what each account holds in the mode in force (REST)."""
        return await self.rest.positions()

    async def close(
        self,
        position: Holding | str,
        *,
        target_quantity: NumberInput | None = None,
        allow_increase: bool | None = None,
        idempotency_key: str | None = None,
    ) -> ClosePositionAnswer:
        """Brings a position to ``target_quantity`` (default 0) with one market order (REST).

        ``position`` is a holding of ``positions()`` or its id. To close the connections, use ``disconnect``.
        """
        return await self.rest.close(
            position,
            target_quantity=target_quantity,
            allow_increase=allow_increase,
            idempotency_key=idempotency_key,
        )

    async def publish_quote(
        self,
        venue: str,
        symbol: str,
        *,
        bid: NumberInput | None = None,
        ask: NumberInput | None = None,
        last: NumberInput | None = None,
        timestamp: datetime | None = None,
    ) -> None:
        """Publishes a reference price: ``last``, or ``bid`` and ``ask``. ``timestamp`` (default now) is when the market
        set it. Raises ``ProblemError`` or ``NoReply``; a quote is not sent again, because the next one is newer."""
        quote = MarketQuote(timestamp=timestamp or datetime.now(timezone.utc), bid=bid, ask=ask, last=last)
        await self.bus.publish(subjects.quote(venue, symbol), dump(quote), timeout=self.options.timeout)

    def reports(self, *, broker: str = "*", account: str = "*", after: int | None = None) -> Follower[ExecutionReport]:
        """Returns an iterator over execution reports, denials included.

        ``after`` is the journal sequence to continue behind: 0 for everything, ``Follower.sequence`` of an earlier
        iterator, or nothing for what happens from now on. A report that the journal holds twice is returned once.
        """
        return self._follow(subjects.JOURNAL_STREAM, subjects.reports(broker, account), NewReports(), after)

    def journal(self, *, after: int | None = None) -> Follower[JournalEntry]:
        """Returns an iterator over every entry of the journal: reports, submissions, changes, locks, notes, days."""
        return self._follow(subjects.JOURNAL_STREAM, None, journal_entry, after)

    def alerts(
        self, *, level: Level | None = None, account: str = "*", after: int | None = None
    ) -> Follower[RiskSignal]:
        """Returns an iterator over risk signals. ``after`` is a sequence of their stream, not of the journal."""
        return self._follow(subjects.ALERTS_STREAM, subjects.alerts(level or "*", account), risk_signal, after)

    def _follow(
        self, stream: str, subject: str | None, convert: Callable[[RawEntry], T | None], after: int | None
    ) -> Follower[T]:
        limit = self.options.outage_timeout
        return Follower(self.bus, stream, subject, convert, after=after, outage_timeout=limit)

    def _identified(self, intent: ExecutionIntent) -> ExecutionIntent:
        """Returns the intent with the account and the client order id that it is sent under."""
        account = intent.account_id or (intent.risk.account_id if intent.risk else None) or self.options.account
        identity = intent.client_order_id or str(uuid.uuid4())
        return dataclasses.replace(intent, account_id=account, client_order_id=identity)

    def _named(self, operation: str, order: Order) -> tuple[str, bytes, str | None]:
        """Returns the subject and the body of a call about one order, and the caller's id of it."""
        if isinstance(order, ExecutionReport):
            account, reference = order.account_id, OrderReference(order_id=order.order_id)
            if order.is_receipt:  # its order id may not be known yet
                reference = OrderReference(client_order_id=order.client_order_id)
        else:
            account = order.account or self.options.account
            reference = OrderReference(order_id=order.order_id, client_order_id=order.client_order_id)
            if (order.order_id is None) == (order.client_order_id is None):
                raise ValueError("an OrderKey has either order_id or client_order_id")
        return subjects.order(operation, order.broker, account), dump(reference), order.client_order_id

    async def _order_call(
        self, subject: str, body: bytes, client_order_id: str | None, timeout: float | None
    ) -> ExecutionReport:
        """Sends a call that has the same effect however often it arrives, until it returns a report."""

        async def send(wait: float) -> ExecutionReport:
            headers = {subjects.DEADLINE: deadline.header}
            return decode(ExecutionReport, await self.bus.request(subject, body, timeout=wait, headers=headers))

        deadline = self._deadline(timeout)
        try:
            return await repeat(send, deadline, self.options.retry, is_settled=lambda report: not report.is_receipt)
        except Exception as error:
            _name_order(error, client_order_id)
            raise


def _name_order(error: Exception, client_order_id: str | None) -> None:
    """Names the order in an error that does not."""
    if isinstance(error, OrderRouterError) and error.client_order_id is None:
        error.client_order_id = client_order_id


def _acknowledgement(document: object) -> tuple[str, int]:
    """Returns stream and sequence of JetStream's acknowledgement."""
    if isinstance(document, dict):
        error, stream, sequence = document.get("error"), document.get("stream"), document.get("seq")
        if isinstance(error, dict):
            raise fault("queue_full", f"the stream refused the intent: {error.get('description')}")
        if isinstance(stream, str) and isinstance(sequence, int):
            return stream, sequence
    raise MalformedReply("the acknowledgement of the stream has no sequence")

