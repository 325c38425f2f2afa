#!/usr/bin/env python3
"""Hands one limit order to order-router by the durable door, waits for its report and prints it.

    .tools/venv/bin/python examples/durable.py

The order is kept from JetStream's acknowledgement on, also while no worker is up. NATS_URL says where NATS is (default
nats://127.0.0.1:4222). Exit status: 0 with a report, 1 with a problem or without an answer in time.
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

PATIENCE = timedelta(seconds=30)
INTENT = {
    "broker": "ibkr",
    "venue": "ibkr.paper",
    "symbol": "AAPL",
    "side": "buy",
    "quantity": "10",
    "order_type": "limit",
    "price": "180",
    "account_id": "default",
    "client_order_id": str(uuid.uuid4()),  # required on this door: a redelivery is told from a new order by it
    "tags": ["strategy:example"],
}


async def submit(client, intent):
    """Publishes the intent and returns (report, None) or (None, why not)."""
    inbox = client.new_inbox()
    answers = await client.subscribe(inbox)  # before the intent, on the same connection: no answer can be missed
    deadline = datetime.now(timezone.utc) + PATIENCE  # never executed later than this
    headers = {"Deadline": deadline.isoformat(), "Reply-To": inbox}
    subject = f"orders.intents.{intent['broker']}.{intent['account_id']}"
    try:
        kept = await client.jetstream().publish(subject, json.dumps(intent).encode(), headers=headers)
    except NoStreamResponseError:
        return None, f"no queue takes intents for {intent['broker']}; nothing was sent"
    except TimeoutError:
        return None, "no acknowledgement: whether it is kept is not known; publish it again under the same id"
    print(f"kept as {kept.seq} of {kept.stream}", file=sys.stderr)
    try:
        answer = await answers.next_msg(timeout=PATIENCE.total_seconds() + 1)
    except TimeoutError:
        # It is neither lost nor done: the journal (orders.reports...) will tell, or the same id asked again.
        return None, "no report in time; ask orders.get with the same client_order_id"
    document = json.loads(answer.data, parse_float=Decimal)
    if "Nats-Service-Error-Code" in (answer.headers or {}):
        return None, f"{document['code']}: {document['detail']}"
    return document, None


async def main():
    url = os.environ.get("NATS_URL", "nats://127.0.0.1:4222")
    logging.getLogger("nats").setLevel(logging.CRITICAL)  # what fails is told below
    try:  # one attempt; a program that runs for days would let the library reconnect
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
