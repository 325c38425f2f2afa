#!/usr/bin/env python3
"""A source of market data: publishes each price on standard input.

Run: echo 30125.5 | python examples/market_data.py
"""

import sys

from order_router import Router

with Router() as router:
    for line in sys.stdin:
        router.publish_quote("binance.spot", "BTCUSDT", last=line.strip())
