"""The synchronous client: every call of ``AsyncRouter``, run by a thread of its own."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Generic, TypeVar

from ._codec import NumberInput
from ._durable import StoredIntent
from ._events import JournalEntry
from ._follow import Follower
from .client import AsyncRouter, Order
from .errors import NotConnected
from .models import (
    AdjustmentEvent,
    AdjustmentRequest,
    BrokersAnswer,
    CancelAllAnswer,
    ClosePositionAnswer,
    ExecutionIntent,
    ExecutionPage,
    ExecutionReport,
    HealthAnswer,
    HeartbeatAnswer,
    Holding,
    Level,
    LimitsEvent,
    Lock,
    LocksAnswer,
    LockScope,
    Mode,
    NoteEvent,
    OrderPage,
    OrderRecord,
    PositionsAnswer,
    RiskSignal,
    RouterState,
    TradingState,
)
from .options import Options
from .rest import Time

T = TypeVar("T")
STOP_TIMEOUT_S = 10.0


class Router:
    """A client of one router for programs without an event loop. ``with`` connects and disconnects.

    Any thread may call it. The methods are those of ``AsyncRouter``, with the same arguments and exceptions.
    """

    def __init__(self, options: Options | None = None) -> None:
        self.options = options or Options()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._router: AsyncRouter | None = None

    def __enter__(self) -> Router:
        self.connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.disconnect()

    def connect(self) -> None:
        """Starts the thread and connects. Raises ``ProblemError``."""
        if self._router is not None:
            return
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="order-router", daemon=True)
        self._thread.start()
        try:
            self._router = self._wait(_connected(self.options))
        except BaseException:
            self._stop()
            raise

    def disconnect(self) -> None:
        """Closes the connections and ends the thread. Orders are not affected."""
        router, self._router = self._router, None
        if router is None:
            return
        try:
            self._wait(router.disconnect())
        finally:
            self._stop()

    def submit(self, intent: ExecutionIntent, *, timeout: float | None = None) -> ExecutionReport:
        """Submits an order through the request door and returns its report."""
        return self._call(lambda router: router.submit(intent, timeout=timeout))

    def submit_durable(self, intent: ExecutionIntent, *, timeout: float | None = None) -> StoredIntent:
        """Publishes an order to the durable door and returns once it is stored."""
        return self._call(lambda router: router.submit_durable(intent, timeout=timeout))

    def wait_report(self, stored: StoredIntent, *, timeout: float | None = None) -> ExecutionReport:
        """Returns the first report of a stored intent."""
        return self._call(lambda router: router.wait_report(stored, timeout=timeout))

    def get(self, order: Order, *, timeout: float | None = None) -> ExecutionReport:
        """Returns an order's current report."""
        return self._call(lambda router: router.get(order, timeout=timeout))

    def cancel(self, order: Order, *, timeout: float | None = None) -> ExecutionReport:
        """Cancels an order and returns its report."""
        return self._call(lambda router: router.cancel(order, timeout=timeout))

    def replace(
        self,
        order: Order,
        *,
        price: NumberInput | None = None,
        quantity: NumberInput | None = None,
        replace_id: str | None = None,
        timeout: float | None = None,
    ) -> ExecutionReport:
        """Gives what is open of a limit order a new price, a new quantity of the whole order, or both."""
        return self._call(
            lambda router: router.replace(
                order, price=price, quantity=quantity, replace_id=replace_id, timeout=timeout
            )
        )

    def cancel_all(
        self, broker: str, *, account: str | None = None, symbol: str | None = None, timeout: float | None = None
    ) -> CancelAllAnswer:
        """Cancels every open order of an account at a broker, or those in one symbol."""
        return self._call(lambda router: router.cancel_all(broker, account=account, symbol=symbol, timeout=timeout))

    def heartbeat(
        self,
        timeout_ms: int,
        *,
        account: str | None = None,
        actor: str | None = None,
        reason: str | None = None,
        timeout: float | None = None,
    ) -> HeartbeatAnswer:
        """Keeps the account's dead man's switch from firing for ``timeout_ms`` milliseconds; 0 disarms it."""
        return self._call(
            lambda router: router.heartbeat(timeout_ms, account=account, actor=actor, reason=reason, timeout=timeout)
        )

    def state(self) -> RouterState:
        """Returns mode, trading state, limits and the day's totals."""
        return self._call(lambda router: router.state())

    def halt(self, *, actor: str, reason: str, timeout: float | None = None) -> RouterState:
        """Halts trading and cancels every open order."""
        return self._call(lambda router: router.halt(actor=actor, reason=reason, timeout=timeout))

    def resume(self, *, actor: str, reason: str) -> RouterState:
        """Accepts orders again, after a halt or ``reduce_only``."""
        return self._call(lambda router: router.resume(actor=actor, reason=reason))

    def set_state(
        self,
        *,
        actor: str,
        reason: str,
        trading_state: TradingState | None = None,
        mode: Mode | None = None,
        daily_notional_limit: NumberInput | None = None,
        daily_loss_limit: NumberInput | None = None,
    ) -> RouterState:
        """Changes trading state, mode or daily limits."""
        return self._call(
            lambda router: router.set_state(
                actor=actor,
                reason=reason,
                trading_state=trading_state,
                mode=mode,
                daily_notional_limit=daily_notional_limit,
                daily_loss_limit=daily_loss_limit,
            )
        )

    def locks(self) -> LocksAnswer:
        """Lists the locks in force."""
        return self._call(lambda router: router.locks())

    def lock(self, scope: LockScope, *, actor: str, reason: str) -> Lock:
        """Closes an account, a symbol, a broker or everything to all but reductions and cancels."""
        return self._call(lambda router: router.lock(scope, actor=actor, reason=reason))

    def lift(self, lock: Lock | str, *, actor: str, reason: str) -> Lock:
        """Lifts a lock, given it or its ``latch_id``."""
        return self._call(lambda router: router.lift(lock, actor=actor, reason=reason))

    def adjust(self, request: AdjustmentRequest) -> AdjustmentEvent:
        """Books an adjustment once per ``adjustment_id``."""
        return self._call(lambda router: router.adjust(request))

    def note(
        self, order: ExecutionReport, *, actor: str, notes: str | None = None, tags: Sequence[str] | None = None
    ) -> NoteEvent:
        """Adds a note, tags, or both to an order."""
        return self._call(lambda router: router.note(order, actor=actor, notes=notes, tags=tags))

    def brokers(self) -> BrokersAnswer:
        """Lists the brokers with their venues, symbols and times in force."""
        return self._call(lambda router: router.brokers())

    def health(self) -> HealthAnswer:
        """Returns whether a worker would take a new order now."""
        return self._call(lambda router: router.health())

    def limits(self) -> LimitsEvent:
        """Returns the event of the limits in force."""
        return self._call(lambda router: router.limits())

    def positions(self) -> PositionsAnswer:
        """Lists what each account holds in the mode in force (REST)."""
        return self._call(lambda router: router.positions())

    def close(
        self,
        position: Holding | str,
        *,
        target_quantity: NumberInput | None = None,
        allow_increase: bool | None = None,
        idempotency_key: str | None = None,
    ) -> ClosePositionAnswer:
        """Brings a position to ``target_quantity`` with one market order (REST).

        To close the connections, use ``disconnect``.
        """
        return self._call(
            lambda router: router.close(
                position,
                target_quantity=target_quantity,
                allow_increase=allow_increase,
                idempotency_key=idempotency_key,
            )
        )

    def orders(
        self,
        *,
        account: str | None = None,
        status: str | Sequence[str] | None = None,
        client_order_id: str | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> OrderPage:
        """Lists a page of the order log, the newest first (REST)."""
        return self._call(
            lambda router: router.rest.orders(
                account=account, status=status, client_order_id=client_order_id, limit=limit, after=after
            )
        )

    def every_order(
        self, *, account: str | None = None, status: str | Sequence[str] | None = None, start: Time | None = None
    ) -> Iterator[OrderRecord]:
        """Reads all pages of the order log, the oldest order first (REST)."""
        orders = self._connected.rest.every_order(account=account, status=status, start=start)
        while True:
            order = self._wait(_next(orders.__anext__))
            if order is None:
                return
            yield order

    def executions(
        self, *, account: str | None = None, order: int | None = None, limit: int = 100, after: str | None = None
    ) -> ExecutionPage:
        """Lists a page of executions, the newest first (REST)."""
        return self._call(
            lambda router: router.rest.executions(account=account, order=order, limit=limit, after=after)
        )

    def recent_alerts(
        self, *, account: str | None = None, level: Level | None = None, limit: int = 100
    ) -> Sequence[RiskSignal]:
        """Lists the newest alerts and locks of the risk rules (REST)."""
        return self._call(lambda router: router.rest.recent_alerts(account=account, level=level, limit=limit))

    def publish_quote(
        self,
        venue: str,
        symbol: str,
        *,
        bid: NumberInput | None = None,
        ask: NumberInput | None = None,
        last: NumberInput | None = None,
        timestamp: datetime | None = None,
    ) -> None:
        """Publishes a reference price."""
        self._call(
            lambda router: router.publish_quote(venue, symbol, bid=bid, ask=ask, last=last, timestamp=timestamp)
        )

    def reports(
        self, *, broker: str = "*", account: str = "*", after: int | None = None
    ) -> SyncFollower[ExecutionReport]:
        """Returns an iterator over execution reports, denials included."""
        return SyncFollower(self, self._connected.reports(broker=broker, account=account, after=after))

    def journal(self, *, after: int | None = None) -> SyncFollower[JournalEntry]:
        """Returns an iterator over every entry of the journal."""
        return SyncFollower(self, self._connected.journal(after=after))

    def alerts(
        self, *, level: Level | None = None, account: str = "*", after: int | None = None
    ) -> SyncFollower[RiskSignal]:
        """Returns an iterator over risk signals."""
        return SyncFollower(self, self._connected.alerts(level=level, account=account, after=after))

    @property
    def _connected(self) -> AsyncRouter:
        if self._router is None:
            raise NotConnected("use `with`, or call connect()")
        return self._router

    def _call(self, start: Callable[[AsyncRouter], Coroutine[Any, Any, T]]) -> T:
        return self._wait(start(self._connected))

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine on the thread and returns its result. Every one of them has a time limit of its own."""
        loop = self._loop
        if loop is None:
            work.close()
            raise NotConnected("the client is disconnected")
        future: concurrent.futures.Future[T] = asyncio.run_coroutine_threadsafe(work, loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # after Ctrl-C; a finished one is not affected
            raise

    def _stop(self) -> None:
        loop, self._loop = self._loop, None
        thread, self._thread = self._thread, None
        if loop is None or thread is None:
            return
        loop.call_soon_threadsafe(loop.stop)
        thread.join(STOP_TIMEOUT_S)
        if not thread.is_alive():
            loop.close()


class SyncFollower(Iterator[T], Generic[T]):
    """A ``Follower`` for ``for`` loops. ``with`` fixes the place at which it begins, and ends it."""

    def __init__(self, router: Router, follower: Follower[T]) -> None:
        self._router, self._follower = router, follower

    @property
    def sequence(self) -> int:
        """The place to continue from: ``after`` of a later iterator."""
        return self._follower.sequence

    def __enter__(self) -> SyncFollower[T]:
        self._router._wait(self._follower.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> SyncFollower[T]:
        return self

    def __next__(self) -> T:
        entry = self._router._wait(_next(self._follower.__anext__))
        if entry is None:
            raise StopIteration
        return entry

    def read(self, timeout: float) -> T | None:
        """Returns the next entry, or ``None`` if none arrives within ``timeout`` seconds."""
        return self._router._wait(self._follower.read(timeout))

    def close(self) -> None:
        """Ends the iterator and its consumer on the server."""
        self._router._wait(self._follower.aclose())


async def _connected(options: Options) -> AsyncRouter:
    router = AsyncRouter(options)
    await router.connect()
    return router


async def _next(read: Callable[[], Awaitable[T]]) -> T | None:
    """Returns the next item, or nothing at the end."""
    try:
        return await read()
    except StopAsyncIteration:
        return None
