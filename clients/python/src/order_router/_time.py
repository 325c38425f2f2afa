"""Deadlines and retry delays."""

from __future__ import annotations

import datetime
import random
import time
from dataclasses import dataclass

MAX_ATTEMPTS = 20
MAX_AHEAD_S = 24 * 3600.0


class Deadline:
    """A moment by two clocks: the local clock for the ``Deadline`` header, a monotonic one for waiting."""

    def __init__(self, seconds: float) -> None:
        if not 0 < seconds <= MAX_AHEAD_S:
            raise ValueError(f"a timeout is above 0 and at most {MAX_AHEAD_S:.0f} s, not {seconds}")
        self._end = time.monotonic() + seconds
        moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
        self.header = moment.strftime("%Y-%m-%dT%H:%M:%S.%f") + "Z"
        """The deadline as the value of the header ``Deadline``."""

    def remaining(self) -> float:
        """Returns the seconds until the deadline, below zero once it has passed."""
        return self._end - time.monotonic()


@dataclass(frozen=True)
class RetryPolicy:
    """How often a call is sent again, and how long each reply is awaited. Times are in seconds."""

    attempts: int = 8
    """The maximum number of times a call is sent, 1-20."""
    reply_timeout: float = 1.5
    """How long one attempt waits for its reply."""
    first_delay: float = 0.1
    """The delay before the second attempt. It doubles for each further one."""
    max_delay: float = 1.0
    """The longest delay."""
    grace: float = 1.0
    """How long after its deadline a call may still ask for the outcome. A known id is answered at any time; an id that
    is not known by then is refused with ``intent_expired``, so that the outcome is certain either way."""

    def __post_init__(self) -> None:
        if not 1 <= self.attempts <= MAX_ATTEMPTS:
            raise ValueError(f"attempts are 1-{MAX_ATTEMPTS}, not {self.attempts}")
        if min(self.reply_timeout, self.first_delay, self.max_delay, self.grace) <= 0:
            raise ValueError("reply_timeout, first_delay, max_delay and grace are above 0")

    def delay(self, attempt: int) -> float:
        """Returns the delay after an attempt, counted from 1, with jitter: between half of it and all of it."""
        longest = min(self.max_delay, self.first_delay * 2.0 ** (attempt - 1))
        return longest * random.uniform(0.5, 1.0)
