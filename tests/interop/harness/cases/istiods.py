"""fake-istiod is killed and started again while calls go on: none may fail, and clients follow the new one."""

from fractions import Fraction

from ..moving import follow, moving_loads, pair_of
from ..pairs import each_pair
from ..results import all_are, passed

BOUND_SECONDS = 40
CALLS = 20


def run(world):
    with moving_loads(world, "istiod") as loads:
        streams = world.istiod.streams()
        world.istiod.kill()
        yield each_pair(world, "under load, fake-istiod is killed", still(loads))
        world.istiod.start()
        world.istiod.settle(BOUND_SECONDS, streams)
        world.istiod.apply("moving", world.mesh.moving((80, 20)))
        yield each_pair(world, "it is back, weights become 80/20", followed(loads))
        world.istiod.apply("moving", world.mesh.moving((20, 80)))
    yield each_pair(world, "calls meanwhile: fake-istiod", lambda _, c, s: loads.unharmed(pair_of(c, s)))


def still(loads):
    def ask(_, client, server):
        all_are(loads.call(pair_of(client, server), count=CALLS), "OK")
        return passed("OK")

    return ask


def followed(loads):
    def ask(_, client, server):
        follow(loads, pair_of(client, server), Fraction(80, 100))
        return passed("OK")

    return ask
