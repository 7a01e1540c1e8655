"""The article's tutorial in several ways at once, step by step: simulated, with our echo on sockets, and with the
programs of others in its place.

Steps and expectations are the scenario's, as `hermesh run --format json` tells them. A step must come to the same in
all ways, and to what the scenario expects.
"""

from ..failures import words
from ..install import REPOSITORY
from ..network import Loopback
from ..processes import Children
from ..world import World
from .compare import compare
from .echo import EchoWay
from .outcome import Done
from .programs import ProgramWay
from .simulated import Simulated
from .step import playable

NAME, ABOUT = "tutorial", "the article's tutorial: simulated, with our echo, and with every program in its place"
FILES = REPOSITORY / "examples" / "grpc-echo"


def run(installed, programs, folder, say, about):
    """Gives rows of one cell for each way, one after the other, and notes in `about` what each program says of
    itself."""
    place = folder / "t"
    place.mkdir()
    say("tutorial: simulated")
    simulated = Simulated(installed, FILES / "tutorial.yaml", place / "trace.jsonl")
    playable(simulated.steps, {pod.workload for pod in simulated.pods}, FILES)
    loopback = Loopback()
    with Children(folder / "logs") as children:
        def way(kind, name, *of):
            own = place / name
            own.mkdir()
            return kind(name, simulated.pods, FILES, own, loopback, installed, children, *of)

        sockets = [way(EchoWay, "echo"), *(way(ProgramWay, program.way, program) for program in programs)]
        say(f"tutorial: {', '.join(one.name for one in sockets)} on sockets")
        for one in sockets:
            one.istiod.start()
        ways, started = [simulated, *sockets], False
        for step in simulated.steps:
            say(f"tutorial: {step.title}")
            if step.verb == "ready" and not started:
                start(sockets)
                about.update({one.program: one.about() for one in sockets if one.program})
                started = True
            for one in sockets:
                one.restart()
            outcomes = World.together(lambda one: (one.name, play(one, step)), ways, len(ways))
            yield compare(step, dict(outcomes))


def play(way, step):
    """What comes of a step in one way; what nobody expected there is no matter of the others."""
    try:
        return way.play(step)
    except Exception as error:
        return Done("stuck", None, words(error))


def start(ways):
    """Starts all pods as the kubelet does, agents first. Children are started by the main thread."""
    for way in ways:
        way.start_agents()
    World.together(lambda way: way.await_agents(), ways)
    for way in ways:
        way.start_applications()
