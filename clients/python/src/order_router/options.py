"""How a client reaches the router."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field

from ._time import RetryPolicy


def _from_environment(name: str) -> Callable[[], str | None]:
    """The variables are those of the command line `order-router`; an empty one counts as absent."""
    return lambda: os.environ.get(f"ORDER_ROUTER_{name}") or None


def _nats_url() -> str:
    return os.environ.get("ORDER_ROUTER_NATS_URL") or "nats://127.0.0.1:4222"


def _http_url() -> str:
    return "http://" + (os.environ.get("ORDER_ROUTER_HTTP_ADDR") or "127.0.0.1:8100")


@dataclass(frozen=True, kw_only=True)
class Options:
    """The addresses, the identity and the time limits of a client. Times are in seconds."""

    nats_url: str = field(default_factory=_nats_url, repr=False)
    """NATS. Default: ``ORDER_ROUTER_NATS_URL``, else ``nats://127.0.0.1:4222``."""
    http_url: str = field(default_factory=_http_url, repr=False)
    """The sidecar, for the calls that the bus does not have. Default: ``http://`` and ``ORDER_ROUTER_HTTP_ADDR``, else
    ``http://127.0.0.1:8100``. It is not reached before the first such call."""
    api_key: str | None = field(default_factory=_from_environment("API_KEY"), repr=False)
    """The key for REST. Default: ``ORDER_ROUTER_API_KEY``, else none."""
    account: str = "default"
    """The account of intents and calls that name none."""
    nats_user: str | None = field(default_factory=_from_environment("NATS_USER"))
    """The NATS user. Default: ``ORDER_ROUTER_NATS_USER``, else none; it may be in ``nats_url``, too."""
    nats_password: str | None = field(default_factory=_from_environment("NATS_PASSWORD"), repr=False)
    """The NATS user's password. Default: ``ORDER_ROUTER_NATS_PASSWORD``, else none."""
    nats_token: str | None = field(default=None, repr=False)
    """The NATS token, instead of user and password."""
    nats_credentials: str | None = field(default_factory=_from_environment("NATS_CREDENTIALS_FILE"))
    """The path of a NATS credentials file, instead of user and password. Default:
    ``ORDER_ROUTER_NATS_CREDENTIALS_FILE``, else none."""
    inbox_prefix: str = "_INBOX"
    """The beginning of reply subjects. A NATS user that is fenced into its account has one of its own."""
    name: str = "order-router-python"
    """The connection's name in the monitoring of NATS."""
    connect_timeout: float = 5.0
    """How long the first connection to NATS may take. A lost connection is restored by itself."""
    timeout: float = 5.0
    """How long a call may take, retries included. It is the ``Deadline`` of requests: nothing is executed later."""
    durable_timeout: float = 60.0
    """How long a stored intent may be executed, at most 24 hours."""
    outage_timeout: float = 60.0
    """How long an iterator over events waits for a stream that is out of reach before it raises."""
    retry: RetryPolicy = RetryPolicy()
    """How calls are repeated."""
