#!/usr/bin/env python3
"""A reconciler: compares the open orders of the journal with those of the order log.

Run: python examples/reconciler.py. Exit status: 0 if they agree, 1 if not.
"""

import sys

from order_router import ExecutionReport, Router

with Router() as router:
    with router.journal() as now, router.journal(after=0) as entries:
        reports: dict[str, ExecutionReport] = {}
        while entries.sequence < now.sequence:
            event = next(entries).event
            if isinstance(event, ExecutionReport):
                known = reports.setdefault(event.order_id, event)
                reports[event.order_id] = max(known, event, key=lambda report: report.version)
    on_journal = {report.order_id: report.filled_quantity for report in reports.values() if report.is_open}
    in_log = {order.external_order_id: order.filled_quantity for order in router.every_order(status="open")}
    differing = sorted(one for one in {*on_journal, *in_log} if on_journal.get(one) != in_log.get(one))
    print(len(in_log), "open orders,", len(differing), "differences", *differing)
    sys.exit(1 if differing else 0)
