"""Fixtures: one router for tests that use accounts of their own, and routers for tests that need one alone."""

from __future__ import annotations

import pathlib
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from .servers import Cluster, Dev, dev


@pytest.fixture(scope="session")
def router(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    """A router that all tests share. Orders at ``ibkr`` stay open."""
    with dev(tmp_path_factory.mktemp("router"), "brokers.paper_ibkr.rest_fill=never") as started:
        yield started


@pytest.fixture
def own_router(tmp_path: pathlib.Path) -> Iterator[Callable[..., Dev]]:
    """Starts a router for one test."""
    with ExitStack() as stack:
        yield lambda *settings, config=None: stack.enter_context(dev(tmp_path, *settings, config=config))


@pytest.fixture
def cluster(tmp_path: pathlib.Path) -> Iterator[Cluster]:
    """NATS without a worker, for one test."""
    started = Cluster(tmp_path)
    try:
        yield started
    finally:
        started.stop()


@pytest.fixture
def account() -> str:
    """An account that no other test uses."""
    return f"test-{uuid.uuid4().hex[:12]}"
