"""Models are what the contract says, and numbers are exact on both ways."""

from __future__ import annotations

import datetime
import json
import pathlib
from decimal import Decimal
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import generate_models
from order_router import ExecutionIntent, IntentRisk, LockScopeSymbol, MalformedReply, models
from order_router._codec import decode, dump, encode, parse, timestamp
from order_router._faults import FAULTS

from .servers import REPOSITORY, Dev, buy

SCHEMAS = REPOSITORY / "subjects/schemas"
GOOD = sorted((REPOSITORY / "subjects/examples/good").glob("*.json"))
NOON = datetime.datetime(2026, 3, 2, 12, 0, 0, 250, tzinfo=datetime.timezone.utc)


def model_of(stem: str) -> Any:
    schema = json.loads((SCHEMAS / f"{stem}.schema.json").read_text("utf-8"))
    return getattr(models, schema["title"].rpartition(".")[2])


def validator(stem: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads((SCHEMAS / f"{stem}.schema.json").read_text("utf-8")))


def test_generated_files_match_the_schemas() -> None:
    for path, text in generate_models.generate().items():
        assert path.read_text("utf-8") == text, f"{path} is stale: run python clients/python/generate_models.py"


def test_rest_schemas_are_those_of_the_sidecar(router: Dev) -> None:
    served = generate_models.fetch_rest_components(router.http_url)
    assert generate_models.REST_SCHEMAS.read_text("utf-8") == served, (
        "rest-schemas.json is stale: run python clients/python/generate_models.py --rest-from URL"
    )


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_published_example_is_decoded_without_loss(path: pathlib.Path) -> None:
    stem = path.name.split(".")[0]
    if stem == "execution-intent":
        document = json.loads(path.read_text("utf-8"), parse_float=Decimal)
        assert str(decode(ExecutionIntent, document).quantity) == str(document["quantity"])
        return
    document = parse(path.read_bytes())
    model = decode(model_of(stem), document)
    assert_same(encode(model), document, path.name)


def assert_same(encoded: Any, document: Any, path: str) -> None:
    """Compares what a model holds with the document; absent, null and the default are the same."""
    if isinstance(document, dict):
        for name, value in document.items():
            if value not in (None, [], {}):
                assert_same(encoded[name], value, f"{path}.{name}")
    elif isinstance(document, list):
        assert len(encoded) == len(document), path
        for index, pair in enumerate(zip(encoded, document)):
            assert_same(*pair, f"{path}[{index}]")
    elif isinstance(document, (int, Decimal)) and not isinstance(document, bool):
        assert Decimal(encoded) == document, path
    elif path.endswith((".timestamp", "_at", ".since", ".at")):
        assert encoded == timestamp(decode(datetime.datetime, document)), path
    else:
        assert encoded == document, path


@pytest.mark.parametrize(
    ("stem", "request_model"),
    [
        ("execution-intent", buy(quantity=Decimal("0.00100000"), client_order_id="a", tags=["strategy:x"])),
        ("execution-intent", buy(order_type="market", price=None, expires_at=NOON, reduce_only=True)),
        ("execution-intent", buy(risk=IntentRisk(stop_loss=Decimal("1E+3")), estimated_loss=5)),
        ("lock-set-request", models.LockSetRequest(
            actor="a", reason="b", scope=LockScopeSymbol(venue="binance.spot", symbol="BTCUSDT"))),
        ("state-change-request", models.StateChangeRequest(actor="a", reason="b", daily_loss_limit="20000")),
        ("market-quote", models.MarketQuote(timestamp=NOON, bid="1.5", ask=Decimal("2"))),
        ("note-request", models.NoteRequest(order_id="BN-1", actor="a", tags=("x", "y"))),
        ("order-reference", models.OrderReference(client_order_id="a")),
        ("cancel-all-request", models.CancelAllRequest()),
        ("heartbeat-request", models.HeartbeatRequest(timeout_ms=5000)),
        ("heartbeat-request", models.HeartbeatRequest(timeout_ms=0, reason="done")),
        ("adjustment-request", models.AdjustmentRequest(account_id="x", actor="a", reason="b", cash=Decimal("-2.5"))),
    ],
)  # fmt: skip
def test_request_matches_its_schema(stem: str, request_model: object) -> None:
    errors = list(validator(stem).iter_errors(json.loads(dump(request_model))))
    assert not errors, errors


def test_numbers_are_exact_in_both_directions() -> None:
    for number, sent in [
        (Decimal("0.10"), "0.10"), (Decimal("1E+3"), "1000"), (Decimal("1E-8"), "0.00000001"), (7, 7), ("0.1", "0.1"),
    ]:  # fmt: skip
        assert encode(buy(quantity=number))["quantity"] == sent
    body = (REPOSITORY / "subjects/examples/good/execution-report.filled.json").read_bytes()
    report = decode(models.ExecutionReport, parse(body))
    assert isinstance(report.quantity, Decimal) and isinstance(report.avg_price, Decimal)
    assert all(isinstance(fill.price, Decimal) for fill in report.fills)


def test_floats_and_unusable_values_are_refused() -> None:
    with pytest.raises(TypeError, match="float"):
        dump(buy(quantity=0.1))
    with pytest.raises(TypeError, match="float"):
        dump(buy(risk=IntentRisk(stop_loss=0.5)))  # type: ignore[arg-type]
    for number in (Decimal("NaN"), Decimal("Infinity")):
        with pytest.raises(ValueError, match="finite"):
            dump(buy(price=number))
    with pytest.raises(ValueError, match="offset"):
        dump(buy(expires_at=datetime.datetime(2026, 1, 1)))


def test_reply_of_a_newer_router_is_decoded() -> None:
    body = (REPOSITORY / "subjects/examples/good/execution-report.filled.json").read_bytes()
    document = parse(body)
    assert isinstance(document, dict)
    report = decode(models.ExecutionReport, {**document, "status": "parked", "new_field": {"x": 1}})
    assert report.status == "parked" and report.is_open and not report.is_final  # type: ignore[comparison-overlap]


def test_reply_outside_of_the_contract_is_named() -> None:
    body = (REPOSITORY / "subjects/examples/good/execution-report.filled.json").read_bytes()
    document = parse(body)
    assert isinstance(document, dict)
    changes: list[tuple[dict[str, object], str]] = [
        ({"quantity": "many"}, r"ExecutionReport\.quantity"),
        ({"quantity": True}, r"ExecutionReport\.quantity"),
        ({"version": "1"}, r"ExecutionReport\.version"),
        ({"fills": [{}]}, r"ExecutionReport\.fills\[0\]\.exec_id is missing"),
        ({"submitted_at": "yesterday"}, r"ExecutionReport\.submitted_at"),
        ({"tags": "x"}, r"ExecutionReport\.tags"),
    ]
    for change, message in changes:
        with pytest.raises(MalformedReply, match=message):
            decode(models.ExecutionReport, document | change)
    for text in (b"", b"[1", b"\xff", b"[" * 100_000):
        with pytest.raises(MalformedReply):
            parse(text)


def test_faults_are_those_of_the_table() -> None:
    assert FAULTS["queue_full"] == (503, "The router is full", True)
    assert FAULTS["trading_halted"].status == 403 and not FAULTS["trading_halted"].retryable
    assert len(FAULTS) > 25
