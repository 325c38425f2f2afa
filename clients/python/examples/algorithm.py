#!/usr/bin/env python3
"""An algorithm: one order, sent at most once however often its reply is lost. Run: python examples/algorithm.py"""

from order_router import ExecutionIntent, Router

with Router() as router:
    intent = ExecutionIntent(
        broker="binance", venue="binance.spot", symbol="BTCUSDT", side="buy", quantity="0.001", order_type="market"
    )
    report = router.submit(intent)
    print(report.order_id, report.status, report.filled_quantity, "at", report.avg_price)
