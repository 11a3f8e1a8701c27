"""A step that drops most of its data is refused unless the configuration says that it is meant."""

import math
from collections.abc import Mapping

from closer_look.jobs.job import InputError


def check_dropped(what: str, dropped: Mapping[str, int], total: int, most: float) -> None:
    """Raise `InputError` if more than the share `most` of `total` was dropped.

    `what` says of which file or run, and of what; `dropped` has the number by the reason, in words.
    """
    number = sum(dropped.values())
    if number <= most * total:
        return
    ordered = sorted(dropped.items(), key=lambda item: -item[1])
    reasons = ", ".join(f"{count} {reason}" for reason, count in ordered if count)
    left_out = f"{what}: {number} of {total} would be left out: {reasons}"
    if number == total:
        raise InputError(f"{left_out}: nothing would be left")
    share = math.ceil(100 * number / total) / 100
    raise InputError(
        f"{left_out}: more than the share cleaning.max_dropped ({most}); if that is meant, raise "
        f"it to {share}"
    )
