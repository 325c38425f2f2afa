"""Calls about the router as a whole: state, locks, adjustments, notes, brokers, health."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Sequence

from . import subjects
from ._bus import Bus
from ._codec import NumberInput, decode, dump
from ._retry import repeat
from ._time import Deadline
from .models import (
    AdjustmentEvent,
    AdjustmentRequest,
    BrokersAnswer,
    ExecutionReport,
    HealthAnswer,
    LimitsEvent,
    Lock,
    LockLiftRequest,
    LocksAnswer,
    LockScope,
    LockSetRequest,
    Mode,
    NoteEvent,
    NoteRequest,
    RouterState,
    StateChangeRequest,
    TradingState,
)
from .options import Options

REPLY_SLACK_S = 0.25
"""How long after its deadline a call that is sent once waits for a reply."""


class ControlCalls:
    """The control part of ``AsyncRouter``. Every change names its actor and its reason, which the journal keeps.

    A change that tightens, and one with an id of its own, is sent again after a lost reply. A change that loosens never
    is: another operator may have tightened in between.
    """

    options: Options

    @property
    def bus(self) -> Bus:
        raise NotImplementedError("AsyncRouter has the connection")

    async def state(self) -> RouterState:
        """Returns mode, trading state, limits and the day's totals."""
        return decode(RouterState, await self._call(subjects.STATE_GET, b"", None))

    async def halt(self, *, actor: str, reason: str, timeout: float | None = None) -> RouterState:
        """Halts trading and cancels every open order. ``cancelled`` and ``remaining`` say what became of them.

        It is sent again after a lost reply; ``cancelled`` then leaves out what the first call cancelled.
        """
        request = StateChangeRequest(actor=actor, reason=reason, trading_state="halted")
        return decode(RouterState, await self._call(subjects.STATE_SET, dump(request), timeout))

    async def resume(self, *, actor: str, reason: str) -> RouterState:
        """Accepts orders again, after a halt or ``reduce_only``. It is sent once."""
        return await self.set_state(actor=actor, reason=reason, trading_state="active")

    async def set_state(
        self,
        *,
        actor: str,
        reason: str,
        trading_state: TradingState | None = None,
        mode: Mode | None = None,
        daily_notional_limit: NumberInput | None = None,
        daily_loss_limit: NumberInput | None = None,
    ) -> RouterState:
        """Changes trading state, mode or daily limits. It is sent once: after ``NoReply``, read ``state`` first."""
        request = StateChangeRequest(
            actor=actor,
            reason=reason,
            trading_state=trading_state,
            mode=mode,
            daily_notional_limit=daily_notional_limit,
            daily_loss_limit=daily_loss_limit,
        )
        return decode(RouterState, await self._call_once(subjects.STATE_SET, dump(request)))

    async def locks(self) -> LocksAnswer:
        """Lists the locks in force."""
        return decode(LocksAnswer, await self._call(subjects.LOCKS_LIST, b"", None))

    async def lock(self, scope: LockScope, *, actor: str, reason: str) -> Lock:
        """Closes an account, a symbol, a broker or everything to all but reductions and cancels."""
        request = LockSetRequest(scope=scope, actor=actor, reason=reason)
        return decode(Lock, await self._call(subjects.LOCKS_SET, dump(request), None))

    async def lift(self, lock: Lock | str, *, actor: str, reason: str) -> Lock:
        """Lifts a lock, given it or its ``latch_id``, and returns it as it was. It is sent once."""
        latch_id = lock if isinstance(lock, str) else lock.latch_id
        request = LockLiftRequest(latch_id=latch_id, actor=actor, reason=reason)
        return decode(Lock, await self._call_once(subjects.LOCKS_LIFT, dump(request)))

    async def adjust(self, request: AdjustmentRequest) -> AdjustmentEvent:
        """Books an adjustment once per ``adjustment_id``; one is assigned if it is absent."""
        identity = request.adjustment_id or str(uuid.uuid4())
        known = dataclasses.replace(request, adjustment_id=identity)
        return decode(AdjustmentEvent, await self._call(subjects.ADJUST, dump(known), None))

    async def note(
        self, order: ExecutionReport, *, actor: str, notes: str | None = None, tags: Sequence[str] | None = None
    ) -> NoteEvent:
        """Adds a note, tags, or both to an order."""
        request = NoteRequest(
            order_id=order.order_id, actor=actor, notes=notes, tags=tags, note_id=str(uuid.uuid4())
        )
        subject = subjects.order("note", order.broker, order.account_id)
        return decode(NoteEvent, await self._call(subject, dump(request), None))

    async def brokers(self) -> BrokersAnswer:
        """Lists the brokers with their venues, symbols and times in force."""
        return decode(BrokersAnswer, await self._call(subjects.BROKERS, b"", None))

    async def health(self) -> HealthAnswer:
        """Returns whether a worker would take a new order now, and what keeps it from that."""
        return decode(HealthAnswer, await self._call(subjects.HEALTH, b"", None))

    async def limits(self) -> LimitsEvent:
        """Returns the event of the limits in force."""
        return decode(LimitsEvent, await self._call(subjects.LIMITS_GET, b"", None))

    def _deadline(self, timeout: float | None) -> Deadline:
        return Deadline(self.options.timeout if timeout is None else timeout)

    async def _call(self, subject: str, body: bytes, timeout: float | None) -> object:
        """Sends a call that has the same effect however often it arrives, until there is a reply."""
        deadline = self._deadline(timeout)

        async def send(wait: float) -> object:
            return await self.bus.request(subject, body, timeout=wait, headers={subjects.DEADLINE: deadline.header})

        return await repeat(send, deadline, self.options.retry)

    async def _call_once(self, subject: str, body: bytes) -> object:
        deadline = self._deadline(None)
        headers = {subjects.DEADLINE: deadline.header}
        timeout = deadline.remaining() + REPLY_SLACK_S
        return await self.bus.request(subject, body, timeout=timeout, headers=headers)
