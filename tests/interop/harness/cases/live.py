"""Clients and servers that run turn to mTLS and back. Calls may fail around the switch, and only with UNAVAILABLE."""

from ..defects import crash
from ..loads import Loads
from ..manifests import full
from ..mesh import LIVE
from ..pairs import each_pair
from ..results import Wrong, all_from, codes, lacking, passed
from ..waiting import Missing, Unmet, until

SWITCH_SECONDS = 20
CALLS = 5


def run(world):
    callers = {
        (client.name, server.name): world.client(client) for client in world.programs for server in world.programs
    }
    loads = Loads(callers, "live", lambda server: f"xds:///{full(LIVE, f'live-{server}')}:7070")
    with loads:
        yield each_pair(world, "live, plain at first", becomes(world, loads, mutual=False))
        world.istiod.apply("live", world.mesh.live(mutual=True))
        yield each_pair(world, "live, mTLS at both ends", becomes(world, loads, mutual=True))
        world.istiod.apply("live", world.mesh.live(mutual=False))
        yield each_pair(world, "live, plain again", becomes(world, loads, mutual=False))
    yield each_pair(world, "calls that failed meanwhile: live", meanwhile(world, loads))


def becomes(world, loads, mutual):
    """Waits until calls get through, with the client's identity or without any."""
    def ask(pod, client, server):
        if found := crash(world.pod(LIVE, f"live-{server.name}").witness):
            return lacking("crash", found)

        def condition():
            answer = loads.call((client.name, server.name), count=CALLS)
            try:
                all_from(answer, pod.identity if mutual else None)
                return True
            except Wrong as wrong:
                return Missing(wrong)

        try:
            until("calls get through " + ("with mTLS" if mutual else "in plain text"), SWITCH_SECONDS, condition)
        except Unmet as unmet:
            if found := crash(world.pod(LIVE, f"live-{server.name}").witness):
                return lacking("crash", found)
            raise Wrong("stays", str(unmet)) from None
        return passed("OK*" if mutual else "OK")

    return ask


def meanwhile(world, loads):
    def ask(_, client, server):
        if found := crash(world.pod(LIVE, f"live-{server.name}").witness):
            return lacking("crash", found)
        answer = loads.answer((client.name, server.name))
        if not set(answer["codes"]) <= {"OK", "UNAVAILABLE"} or "OK" not in answer["codes"]:
            raise Wrong(codes(answer), f"{answer['codes']}: {'; '.join(answer['errors'])}")
        total = sum(answer["codes"].values())
        return passed(f"{answer['codes'].get('UNAVAILABLE', 0)} of {total}")

    return ask
