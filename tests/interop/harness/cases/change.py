"""Weights, rules and endpoints change while calls go on; none may fail, and every client follows."""

from fractions import Fraction

from ..moving import follow, moving_loads, pair_of
from ..pairs import each_pair
from ..results import passed

EVEN = Fraction(1, 2)


def run(world):
    steps = (
        ("weights become 80/20", [{"weights": (80, 20)}], Fraction(80, 100)),
        # In this order: routes to subsets that are gone already would fail, by Istio's rules too.
        ("the VirtualService goes, then its subsets", [{}, {"subsets": False}], EVEN),
        ("v2 loses its endpoints", [{"subsets": False, "versions": ("v1",)}], 1),
        ("endpoints, subsets and 20/80 are back", [{"weights": (20, 80)}], Fraction(20, 100)),
    )
    with moving_loads(world, "change") as loads:
        for what, states, share in steps:
            for state in states:
                world.istiod.apply("moving", world.mesh.moving(**state))
            yield each_pair(world, f"under load, {what}", followed(loads, share))
    yield each_pair(world, "calls meanwhile: change", lambda _, c, s: loads.unharmed(pair_of(c, s)))


def followed(loads, share):
    def ask(_, client, server):
        follow(loads, pair_of(client, server), share)
        return passed("OK")

    return ask
