#!/usr/bin/env python3
"""A risk monitor: halts trading at the first lock that a risk rule sets. Run: python examples/risk_monitor.py"""

from order_router import Router

with Router() as router, router.alerts(level="lock") as locks:
    print("watching from", locks.sequence, flush=True)
    for signal in locks:
        state = router.halt(actor="risk-monitor", reason=f"{signal.rule_id}: {signal.message}"[:256])
        print("halted:", signal.rule_id, "cancelled", state.cancelled, "still open", state.remaining_total)
        break
