"""The agents of all clients and of half the servers are killed and started again while calls go on."""

from ..mesh import PLAIN
from ..moving import moving_loads, pair_of
from ..pairs import each_pair
from .istiods import BOUND_SECONDS, followed, still


def run(world):
    servers = [world.pod(PLAIN, f"echo-{program.name}-v1") for program in world.programs]
    pods = [world.client(program) for program in world.programs] + servers
    with moving_loads(world, "agent") as loads:
        streams = world.istiod.streams()
        for pod in pods:
            pod.agent.kill()
        yield each_pair(world, "under load, agents are killed", still(loads))
        for pod in pods:
            pod.start_agent(world.installed, world.istiod, world.children)
        world.together(lambda pod: pod.await_agent(), pods)
        world.istiod.settle(BOUND_SECONDS, streams)
        world.istiod.apply("moving", world.mesh.moving((80, 20)))
        yield each_pair(world, "they are back, weights become 80/20", followed(loads))
        world.istiod.apply("moving", world.mesh.moving((20, 80)))
    yield each_pair(world, "calls meanwhile: agents", lambda _, c, s: loads.unharmed(pair_of(c, s)))
