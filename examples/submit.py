#!/usr/bin/env python3
"""Submits one limit order through the request door and prints its report.

    .tools/venv/bin/python examples/submit.py

NATS_URL is the address of NATS (default nats://127.0.0.1:4222). Exit status: 0 with a report, 1 with a problem.
"""

import asyncio
import json
import logging
import os
import sys
import uuid
from datetime import datetime, timedelta, timezone
from decimal import Decimal

import nats
from nats.errors import Error, NoRespondersError, TimeoutError

TIMEOUT = timedelta(seconds=5)
ATTEMPTS = 4
INTENT = {
    "broker": "binance",
    "venue": "binance.spot",
    "symbol": "BTCUSDT",
    "side": "buy",
    "quantity": "0.001",  # numbers as strings: no float is involved
    "order_type": "limit",
    "price": "30000",
    "account_id": "default",
    "client_order_id": str(uuid.uuid4()),  # our own id, so that a retry cannot double the order
}


async def request(client, intent):
    """Sends the intent once. Returns (report, problem, whether a retry can help)."""
    subject = f"orders.submit.{intent['broker']}.{intent['account_id']}"
    deadline = datetime.now(timezone.utc) + TIMEOUT  # never executed later
    headers, timeout = {"Deadline": deadline.isoformat()}, TIMEOUT.total_seconds() + 0.25
    try:
        reply = await client.request(subject, json.dumps(intent).encode(), timeout=timeout, headers=headers)
    except NoRespondersError:
        return None, "no worker is up; nothing was sent", True
    except TimeoutError:
        return None, "no reply in time: the outcome is unknown", True
    document = json.loads(reply.data, parse_float=Decimal)
    if status := (reply.headers or {}).get("Nats-Service-Error-Code"):
        return None, f"{document['code']}: {document['detail']}", int(status) >= 500
    if document["version"] == 0:  # a receipt: no report is journaled yet
        return None, document["reason"]["message"], True
    return document, None, False


async def submit(client, intent):
    """Retries until there is a report. The id stays the same, so the order is sent at most once."""
    for attempt in range(ATTEMPTS):
        report, problem, can_retry = await request(client, intent)
        if not can_retry:
            break
        await asyncio.sleep(0.25 * 2**attempt)
    return report, problem


async def main():
    url = os.environ.get("NATS_URL", "nats://127.0.0.1:4222")
    logging.getLogger("nats").setLevel(logging.CRITICAL)  # errors are printed below
    try:  # one attempt; a long-running program would let the library reconnect
        client = await nats.connect(url, allow_reconnect=False, max_reconnect_attempts=1)
    except (Error, OSError) as error:
        return f"NATS at {url} is out of reach: {error}"
    report, problem = await submit(client, INTENT)
    await client.close()
    if report is None:
        return f"{INTENT['client_order_id']}: {problem}"
    print("{order_id} {status}: {side} {filled_quantity} of {quantity} {symbol} at {avg_price}".format(**report))


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
