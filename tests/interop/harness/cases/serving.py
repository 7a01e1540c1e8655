"""A server that is started before its Service waits for it, stops when it goes, and serves again when it is back."""

from ..defects import forgets
from ..mesh import LATE_PORT, LIVE
from ..pairs import each_program, fresh_call
from ..results import Wrong, all_are, lacking, passed
from ..waiting import Missing, Unmet, until

WITHOUT_MS = 1000
SWITCH_SECONDS = 10


def run(world):
    yield each_program(world, "a server without a Service does not serve", lambda program: start(world, program))
    for what, objects, code in (
        ("its Service comes", world.mesh.late(), "OK"),
        ("its Service goes", [], "UNAVAILABLE"),
        ("its Service is back", world.mesh.late(), "OK"),
    ):
        world.istiod.apply("late", objects)
        yield each_program(world, what, lambda program: direct(world, program, code))


def start(world, program):
    pod = world.pod(LIVE, f"live-{program.name}")
    answer = pod.witness.ask("serve", address=address(pod), version="late", timeout_ms=WITHOUT_MS)
    if answer["serving"]:
        raise Wrong("serves", "the server says that it serves")
    all_are(call(world, pod), "UNAVAILABLE")
    return passed("waits")


def direct(world, program, code):
    """Waits until calls end with `code`."""
    pod = world.pod(LIVE, f"live-{program.name}")

    def condition():
        answer = call(world, pod)
        return set(answer["codes"]) == {code} or Missing(f"{answer['codes']} {'; '.join(answer['errors'])}")

    try:
        until(f"calls end with {code}", SWITCH_SECONDS, condition)
    except Unmet as unmet:
        if found := forgets(pod.witness, f"xds.istio.io/grpc/lds/inbound/{address(pod)}"):
            return lacking("stays", found)
        raise Wrong("stays", str(unmet)) from None
    return passed(code if code == "OK" else "UNAV")


def call(world, pod):
    """Calls the server by its address: without its Service, there is nothing else to call it by."""
    dialers = [program for program in world.programs if program.dials_addresses]
    if not dialers:
        raise Wrong("no caller", "none of these programs dials plain addresses")
    client = world.client(pod.program if pod.program in dialers else dialers[0])
    return fresh_call(client, f"direct {pod.id}", address(pod), credentials="insecure")


def address(pod):
    return f"{pod.address}:{pod.ports[LATE_PORT]}"
