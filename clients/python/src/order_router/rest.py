"""REST: what the bus does not serve, such as positions and the order log."""

from __future__ import annotations

import datetime
import urllib.parse
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from types import TracebackType
from typing import Any

import httpx

from ._bus import error_of, fault, without_secrets
from ._codec import NumberInput, decode, dump, parse, timestamp
from ._retry import repeat
from ._time import Deadline, RetryPolicy
from .errors import MalformedReply, NoReply
from .models import (
    ClosePositionAnswer,
    ClosePositionRequest,
    ExecutionPage,
    Holding,
    Level,
    OrderPage,
    OrderRecord,
    PositionsAnswer,
    RiskSignal,
    Side,
)
from .subjects import DEADLINE

MAX_RESPONSE_BYTES = 64 * 1024 * 1024
PAGE_LIMIT_MAX = 500
Time = datetime.datetime | datetime.date
Filter = str | int | Time | Sequence[str] | None


class RestClient:
    """A sidecar's REST API. It works without a connection to NATS. ``async with`` closes its connections."""

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        timeout: float = 5.0,
        retry: RetryPolicy | None = None,
    ) -> None:
        headers = {"Accept": "application/json"}
        if api_key:
            headers["Authorization"] = f"Bearer {api_key}"
        self.url = without_secrets(url)
        self._timeout = timeout
        self._retry = retry or RetryPolicy(reply_timeout=timeout)
        self._http = httpx.AsyncClient(
            base_url=url, headers=headers, timeout=timeout, follow_redirects=False, trust_env=False
        )

    async def __aenter__(self) -> RestClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    @property
    def is_closed(self) -> bool:
        """Whether ``aclose`` was called."""
        return self._http.is_closed

    async def positions(self) -> PositionsAnswer:
        """Lists what each account holds in the mode in force, flat positions left out."""
        return decode(PositionsAnswer, await self._get("/positions", {}))

    async def close(
        self,
        position: Holding | str,
        *,
        target_quantity: NumberInput | None = None,
        allow_increase: bool | None = None,
        idempotency_key: str | None = None,
    ) -> ClosePositionAnswer:
        """Brings a position to ``target_quantity`` (default 0) with one market order.

        ``position`` is a holding or its id. Retries carry the same ``Idempotency-Key``, so there is one order. A key is
        valid for one target.
        """
        holding = position if isinstance(position, str) else position.id
        body = dump(ClosePositionRequest(target_quantity=target_quantity, allow_increase=allow_increase))
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4()), "Content-Type": "application/json"}
        path = f"/positions/{urllib.parse.quote(holding, safe='')}/close"

        async def send(wait: float) -> ClosePositionAnswer:
            return decode(ClosePositionAnswer, await self._send("POST", path, wait, body=body, headers=headers))

        return await repeat(
            send, Deadline(self._timeout), self._retry, is_settled=lambda answer: not answer.order.is_receipt
        )

    async def orders(
        self,
        *,
        account: str | None = None,
        broker: str | None = None,
        symbol: str | None = None,
        side: Side | None = None,
        status: str | Sequence[str] | None = None,
        client_order_id: str | None = None,
        start: Time | None = None,
        end: Time | None = None,
        updated_after: Time | None = None,
        tag: str | None = None,
        strategy: str | None = None,
        sort: str | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> OrderPage:
        """Lists a page of the order log, the newest first.

        ``status`` is one or several; ``open`` stands for all open ones. The next page is at
        ``after=page.metadata.next``, until that is ``None``.
        """
        filters: dict[str, Filter] = {
            "account_id": account, "broker": broker, "symbol": symbol, "side": side, "status": status,
            "client_order_id": client_order_id, "start": start, "end": end, "updated_after": updated_after, "tag": tag,
            "strategy": strategy, "sort": sort, "limit": limit, "after": after,
        }  # fmt: skip
        return decode(OrderPage, await self._get("/orders/log", filters))

    async def every_order(
        self, *, account: str | None = None, status: str | Sequence[str] | None = None, start: Time | None = None
    ) -> AsyncIterator[OrderRecord]:
        """Reads all pages of the order log, the oldest order first: none is repeated, none that was there is missed."""
        after: str | None = None
        while True:
            page = await self.orders(
                account=account, status=status, start=start, sort="asc", limit=PAGE_LIMIT_MAX, after=after
            )
            for order in page.items:
                yield order
            after = page.metadata.next
            if after is None:
                return

    async def executions(
        self,
        *,
        account: str | None = None,
        symbol: str | None = None,
        order: int | None = None,
        start: Time | None = None,
        end: Time | None = None,
        sort: str | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> ExecutionPage:
        """Lists a page of executions, the newest first. ``order`` is the integer id of the order log."""
        filters: dict[str, Filter] = {
            "account_id": account, "symbol": symbol, "order_id": order, "start": start, "end": end, "sort": sort,
            "limit": limit, "after": after,
        }  # fmt: skip
        return decode(ExecutionPage, await self._get("/executions", filters))

    async def recent_alerts(
        self, *, account: str | None = None, level: Level | None = None, rule: str | None = None, limit: int = 100
    ) -> Sequence[RiskSignal]:
        """Lists the newest alerts and locks of the risk rules, at most 500."""
        filters: dict[str, Filter] = {"account_id": account, "level": level, "rule_id": rule, "limit": limit}
        document = await self._get("/risk/alerts", filters)
        if not isinstance(document, list):
            raise MalformedReply("the list of alerts is not an array")
        return tuple(decode(RiskSignal, one) for one in document)

    async def _get(self, path: str, filters: Mapping[str, Filter]) -> object:
        query = {name: _query(value) for name, value in filters.items() if value is not None}

        async def send(wait: float) -> object:
            return await self._send("GET", path, wait, query=query)

        return await repeat(send, Deadline(self._timeout), self._retry)

    async def _send(
        self,
        method: str,
        path: str,
        wait: float,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Sends a request once. Raises ``ProblemError``, ``NoReply`` or ``MalformedReply``."""
        deadline = Deadline(wait)
        sent = {**(headers or {}), DEADLINE: deadline.header}
        try:
            async with self._http.stream(
                method, path, params=query, content=body, headers=sent, timeout=wait
            ) as response:
                received = bytearray()
                async for chunk in response.aiter_bytes():
                    received += chunk
                    if len(received) > MAX_RESPONSE_BYTES:
                        raise MalformedReply(f"the response to {path} has more than {MAX_RESPONSE_BYTES} bytes")
                    if deadline.remaining() < 0:
                        raise NoReply(f"the response to {method} {path} did not end within {wait:.2f} s")
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise fault("bus_unavailable", f"no sidecar at {self.url}: {error}; nothing was sent") from None
        except httpx.HTTPError as error:
            raise NoReply(f"no response to {method} {path}: {type(error).__name__} {error}") from None
        if response.is_success:
            return parse(bytes(received))
        if response.headers.get("Content-Type", "").startswith("application/problem+json"):
            raise error_of(parse(bytes(received)))
        detail = f"{method} {path} is answered {response.status_code} without a problem document"
        if response.is_server_error:  # a proxy: the sidecar may have the request
            raise NoReply(detail)
        raise MalformedReply(detail)


def _query(value: str | int | Time | Sequence[str]) -> str:
    if isinstance(value, datetime.datetime):
        return timestamp(value)
    if isinstance(value, (str, int, datetime.date)):
        return str(value)
    return ",".join(value)

