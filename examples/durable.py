#!/usr/bin/env python3
"""Submits one limit order through the durable door, waits for its report and prints it.

    .tools/venv/bin/python examples/durable.py

The intent is stored once JetStream has acknowledged it, even if no worker is up. NATS_URL is the address of NATS (default
nats://127.0.0.1:4222). Exit status: 0 with a report, 1 with a problem or without a reply in time.
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
from nats.errors import Error, TimeoutError
from nats.js.errors import NoStreamResponseError

REPLY_TIMEOUT = timedelta(seconds=30)
INTENT = {
    "broker": "ibkr",
    "venue": "ibkr.paper",
    "symbol": "AAPL",
    "side": "buy",
    "quantity": "10",
    "order_type": "limit",
    "price": "180",
    "account_id": "default",
    "client_order_id": str(uuid.uuid4()),  # required on this door: it identifies a redelivery
    "tags": ["strategy:example"],
}


async def submit(client, intent):
    """Publishes the intent. Returns (report, None) or (None, problem)."""
    inbox = client.new_inbox()
    replies = await client.subscribe(inbox)  # before the intent, on the same connection: no reply can be missed
    deadline = datetime.now(timezone.utc) + REPLY_TIMEOUT  # never executed later
    headers = {"Deadline": deadline.isoformat(), "Reply-To": inbox}
    subject = f"orders.intents.{intent['broker']}.{intent['account_id']}"
    try:
        ack = await client.jetstream().publish(subject, json.dumps(intent).encode(), headers=headers)
    except NoStreamResponseError:
        return None, f"no stream accepts intents for {intent['broker']}; nothing was sent"
    except TimeoutError:
        return None, "no acknowledgement: the intent may be stored; publish it again under the same id"
    print(f"stored as {ack.seq} of {ack.stream}", file=sys.stderr)
    try:
        reply = await replies.next_msg(timeout=REPLY_TIMEOUT.total_seconds() + 1)
    except TimeoutError:
        # The order is not lost: follow the journal (orders.reports...), or query it by the same id.
        return None, "no report in time; query orders.get with the same client_order_id"
    document = json.loads(reply.data, parse_float=Decimal)
    if "Nats-Service-Error-Code" in (reply.headers or {}):
        return None, f"{document['code']}: {document['detail']}"
    return document, None


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
