"""Waiting for what is true, bounded in time."""

import time

LOOK_SECONDS = 0.02


class Unmet(Exception):
    """What was waited for did not come about."""


def until(what, bound, condition):
    """Returns the first true value of `condition`, which gives a reason (text) or nothing as long as it is not met."""
    deadline = time.monotonic() + bound
    while True:
        value = condition()
        if value and not isinstance(value, Missing):
            return value
        if time.monotonic() > deadline:
            reason = f": {value}" if value else ""
            raise Unmet(f"{what}: not within {bound} s{reason}")
        time.sleep(LOOK_SECONDS)


class Missing(str):
    """Why a condition is not met yet."""
