"""Several channels and several servers in one process, each with an ADS stream of its own where the program wants one.

Istio's agent keeps one stream for a pod and closes it for the next (istio#53532); ours must serve all of them.
"""

from contextlib import suppress

from ..manifests import full
from ..mesh import MULTI
from ..pairs import attempt, each_program
from ..results import Row, all_from, all_reach, passed
from ..witness import Refused

CALLS = 10
PORTS = {7070: "first", 7071: "second"}


def run(world):
    pods = {program: world.pod(MULTI, f"multi-{program.name}") for program in world.programs}

    def of_client(client):
        return {(client.name, server.name): attempt(ask, pods[client], server) for server in world.programs}

    row = Row("several servers and channels in one process")
    for cells in world.together(of_client, world.programs):
        row.cells.update(cells)
    streams = world.istiod.streams()
    try:
        return [row, each_program(world, "ADS streams of one process that serves and calls",
                                  lambda program: passed(str(streams.get(pods[program].node_id, 0))))]
    finally:
        for client in pods.values():
            for name in channels(world):
                # A pair that failed may not have come to its second channel.
                with suppress(Refused):
                    client.witness.ask("close", channel=name)


def ask(pod, server):
    """All channels stay open until every program has called every other."""
    for port, version in PORTS.items():
        target = f"xds:///{full(MULTI, f'multi-{server.name}')}:{port}"
        answer = pod.witness.ask("call", channel=channel(server, port), target=target, count=CALLS, concurrency=2)
        all_reach(answer, version)
        all_from(answer, pod.identity)
    return passed("OK*")


def channels(world):
    return [channel(server, port) for server in world.programs for port in PORTS]


def channel(server, port):
    return f"several {server.name} {port}"
