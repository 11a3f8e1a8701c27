"""What the terminal is told while a training goes on: where it is, and how long it may take."""

import math
import re
import time
from collections.abc import Callable
from datetime import timedelta

from ..jobs.job import tell

LINE = re.compile(r"\bloss=([\d.]+).*\bnum_updates=(\d+)")
"""What fairseq prints now and then; its losses are in bits."""

PAUSE, LONGEST = 60, 3600
"""Seconds before the first announcement, and at most between two: each pause is twice the last."""


class Announcer:
    """Listens to fairseq's lines; sometimes says how far the training of `run` is, and its end."""

    def __init__(self, run: str, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._run, self._total, self._clock = run, total, clock
        self._pause = PAUSE
        self._next = clock() + PAUSE
        self._first: tuple[int, float] | None = None
        self._is_done = False

    def __call__(self, line: str) -> None:
        """Take note of a line; announce what it says if it is time."""
        match = LINE.search(line)
        if not match or self._is_done:
            return
        loss, update, now = float(match[1]) * math.log(2), int(match[2]), self._clock()
        self._first = self._first or (update, now)
        self._is_done = update >= self._total
        if self._is_done:
            tell(f"{self._run}: all {self._total:,} updates done, loss {loss:.2f} nats")
        elif now >= self._next and update > self._first[0]:
            rate = (now - self._first[1]) / (update - self._first[0])
            left = timedelta(seconds=round(rate * (self._total - update)))
            tell(
                f"{self._run}: update {update:,} of {self._total:,}, loss {loss:.2f} nats, "
                f"about {left} left"
            )
            self._pause = min(2 * self._pause, LONGEST)
            self._next = now + self._pause
