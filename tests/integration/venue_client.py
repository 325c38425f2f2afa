"""Uses the venue with binance-connector, a client library of the venue that this project has not written.

Usage: venue_client.py URL. Exit status 0 if every call gave what the documentation of the venue says.
"""

import sys

import requests
from binance.error import ClientError
from binance.spot import Spot

URL = sys.argv[1]
SYMBOL = "BTCUSDT"


def expect(condition, what):
    if not condition:
        raise SystemExit(f"venue_client: {what}")


def expect_error(code, status, call, *args, **parameters):
    try:
        answer = call(*args, **parameters)
    except ClientError as error:
        found = (error.status_code, error.error_code)
        expect(found == (status, code), f"{call.__name__} gave {found} instead of {(status, code)}")
        return error
    raise SystemExit(f"venue_client: {call.__name__} gave {answer} instead of the error {code}")


client = Spot(api_key="venue-key", api_secret="venue-secret", base_url=URL, timeout=20)
limit = {"symbol": SYMBOL, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01"}

client.ping()
expect(client.time()["serverTime"] > 0, "no time")
info = client.exchange_info(symbol=SYMBOL)
expect(info["symbols"][0]["baseAsset"] == "BTC", f"wrong symbol: {info}")
expect({limit["rateLimitType"] for limit in info["rateLimits"]} == {"REQUEST_WEIGHT", "ORDERS"}, "wrong limits")

placed = client.new_order(**limit, price="20000", newClientOrderId="first")
expect(placed["status"] == "NEW" and placed["fills"] == [], f"wrong placement: {placed}")
client.new_order_test(**limit, price="20000")
queried = client.get_order(SYMBOL, origClientOrderId="first")
expect(queried["orderId"] == placed["orderId"], f"wrong order: {queried}")
expect([order["orderId"] for order in client.get_open_orders(SYMBOL)] == [placed["orderId"]], "wrong open orders")
expect(client.depth(SYMBOL)["bids"] == [["20000.00000000", "0.01000000"]], "wrong book")
expect(client.book_ticker(SYMBOL)["bidPrice"] == "20000.00000000", "wrong ticker")

replaced = client.cancel_and_replace(
    SYMBOL, "BUY", "LIMIT", "STOP_ON_FAILURE",
    cancelOrderId=placed["orderId"], timeInForce="GTC", quantity="0.02", price="20001",
)
expect(replaced["cancelResult"] == replaced["newOrderResult"] == "SUCCESS", f"wrong replacement: {replaced}")
expect_error(
    -2022, 400, client.cancel_and_replace, SYMBOL, "BUY", "LIMIT", "STOP_ON_FAILURE",
    cancelOrderId=placed["orderId"], timeInForce="GTC", quantity="0.02", price="20001",
)
second = replaced["newOrderResponse"]["orderId"]
cancelled = client.cancel_order(SYMBOL, orderId=second)
expect(cancelled["status"] == "CANCELED", f"wrong cancel: {cancelled}")
expect_error(-2011, 400, client.cancel_order, SYMBOL, orderId=second)
expect_error(-2013, 400, client.get_order, SYMBOL, orderId=10**9)
expect_error(-1121, 400, client.new_order, **{**limit, "symbol": "NOPE"}, price="20000")
expect_error(-1013, 400, client.new_order, **limit, price="20000.001")
expect_error(-1111, 400, client.new_order, **{**limit, "quantity": "0.0000000001"}, price="20000")
poor = expect_error(-2010, 400, client.new_order, **{**limit, "quantity": "100"}, price="20000")
expect("insufficient balance" in poor.error_message, f"wrong text: {poor.error_message}")
skew = {"faults": [{"name": "clock_skew", "duration_ms": 60_000}]}
requests.post(f"{URL}/control/faults", json=skew, timeout=20).raise_for_status()
expect_error(-1021, 400, client.account)
requests.post(f"{URL}/control/faults", json={"faults": []}, timeout=20).raise_for_status()
stranger = Spot(api_key="venue-key", api_secret="wrong", base_url=URL, timeout=20)
expect_error(-1022, 400, stranger.account)
stranger = Spot(api_key="unknown", api_secret="wrong", base_url=URL, timeout=20)
expect_error(-2015, 401, stranger.account)

client.new_order(**{**limit, "side": "SELL"}, price="40000", selfTradePreventionMode="NONE")
bought = client.new_order(
    symbol=SYMBOL, side="BUY", type="MARKET", quoteOrderQty="100", selfTradePreventionMode="NONE"
)
expect(bought["status"] == "FILLED" and bought["executedQty"] == "0.00250000", f"wrong purchase: {bought}")
trades = client.my_trades(SYMBOL)
expect(len(trades) == 2 and {trade["isMaker"] for trade in trades} == {True, False}, f"wrong trades: {trades}")
balances = {balance["asset"]: balance for balance in client.account()["balances"]}
expect(balances["BTC"]["locked"] == "0.00750000", f"wrong balances: {balances}")
expect(len(client.cancel_open_orders(SYMBOL)) == 1, "wrong cancel of all")
expect(len(client.get_orders(SYMBOL)) == 4, "wrong list of orders")
expect(client.get_order_rate_limit()[0]["rateLimitType"] == "ORDERS", "wrong count of orders")
expect(client.api_key_permissions()["enableWithdrawals"] is False, "wrong permissions")
