"""Clients follow `move-*`: the calls on an open channel come to fit what the rules say now."""

from fractions import Fraction

from .binomial import bounds
from .loads import Loads
from .results import Wrong, all_are
from .waiting import Missing, Unmet, until

CALLS = 200
FOLLOW_SECONDS = 10


def moving_loads(world, name):
    callers = {
        (client.name, server.name): world.client(client) for client in world.programs for server in world.programs
    }
    return Loads(callers, name, lambda server: f"xds:///move-{server}:7070")


def follow(loads, pair, share):
    """Waits until v1 gets its share, 0 to 1."""
    share = Fraction(share)
    least, most = bounds(CALLS, share)

    def condition():
        answer = loads.call(pair, count=CALLS, concurrency=4)
        all_are(answer, "OK")
        first = answer["versions"].get("v1", 0)
        return True if least <= first <= most else Missing(f"v1 gets {first} of {CALLS}")

    try:
        until(f"v1 gets {least} to {most} of {CALLS}", FOLLOW_SECONDS, condition)
    except Unmet as unmet:
        raise Wrong("stays", str(unmet)) from None


def pair_of(client, server):
    return (client.name, server.name)
