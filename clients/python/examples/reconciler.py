#!/usr/bin/env python3
"""A reconciler: compares the order log's open orders with the workers' state. Run: python examples/reconciler.py"""

from order_router import OrderKey, Router

with Router() as router:
    for order in router.every_order(status="open"):
        key = OrderKey(broker=order.broker, account=order.account_id, order_id=order.external_order_id)
        report = router.get(key)
        agrees = (report.status, report.filled_quantity) == (order.status, order.filled_quantity)
        print(report.order_id, "agrees" if agrees else f"differs: {report.status}, filled {report.filled_quantity}")
