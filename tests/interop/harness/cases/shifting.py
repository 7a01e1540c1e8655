"""Weights of 20 and 80 over many calls, judged by what chance explains."""

from fractions import Fraction

from ..binomial import bounds
from ..pairs import each_pair, fresh_call
from ..results import Wrong, all_are, passed

CALLS = 2000


def run(world):
    least, most = bounds(CALLS, Fraction(20, 100))

    def ask(pod, _, server):
        answer = fresh_call(pod, f"shift {server.name}", f"xds:///shift-{server.name}:7070", count=CALLS, concurrency=8)
        all_are(answer, "OK")
        first, second = (answer["versions"].get(version, 0) for version in ("v1", "v2"))
        if not least <= first <= most or first + second != CALLS:
            raise Wrong(f"{first}/{second}", f"v1 got {first} of {CALLS}, expected {least} to {most}")
        return passed(f"{first}/{second}")

    return [each_pair(world, f"20/80 of {CALLS}, v1 gets {least} to {most}", ask)]
