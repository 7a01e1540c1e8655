"""Everything that runs during the cases: one fake-istiod, and the pods."""

from concurrent.futures import ThreadPoolExecutor

from . import mesh
from .istiod import Istiod
from .manifests import full
from .mesh import Mesh
from .network import Loopback
from .pod import Pod

TOGETHER = 4


class World:
    def __init__(self, installed, programs, groups, folder, children):
        self.installed, self.programs, self.children = installed, programs, children
        self.istiod = Istiod(installed.istiod, folder, children)
        self.istiod.expects = self._streams
        loopback = Loopback()
        pods = folder / "p"
        self.pods = [Pod(spec, loopback, pods) for spec in mesh.specs(programs, groups)]
        self.mesh = Mesh(self.pods, programs, groups)
        self._groups = groups

    def start(self, say):
        say("starting fake-istiod")
        self.istiod.write("base", self.mesh.base())
        if mesh.PLAIN in self._groups:
            self.istiod.write("moving", self.mesh.moving((20, 80)))
        self.istiod.start()
        say(f"starting {len(self.pods)} agents")
        for pod in self.pods:
            pod.start_agent(self.installed, self.istiod, self.children)
        self.together(lambda pod: pod.await_agent(), self.pods)
        say(f"starting {len(self.pods)} programs")
        for pod in self.pods:
            pod.start_program(self.installed, self.children)
        self.together(lambda pod: pod.await_serving(pod.serve()), self.pods)
        if mesh.PLAIN in self._groups:
            self.together(self._anchor, self.programs)
        self.istiod.settle()

    def _anchor(self, program):
        """Opens a channel that stays. grpc-js-xds 1.14.1 ends its ADS stream with its last channel, and takes the end
        of that stream for the end of the next one: it forgets the latter, opens a third, and still hears the second."""
        target = f"xds:///{full(mesh.PLAIN, f'echo-{program.name}')}:7070"
        self.client(program).witness.ask("call", channel="anchor", target=target, timeout_ms=10000)

    def _streams(self):
        """Every program that runs has a server or a channel that is open."""
        return {pod.node_id: 1 for pod in self.pods if pod.witness and pod.witness.child.is_running()}

    def pod(self, namespace, name):
        return next(pod for pod in self.pods if (pod.namespace, pod.name) == (namespace, name))

    def client(self, program):
        """The pod from which a program calls."""
        return self.pod(mesh.PLAIN, f"client-{program.name}")

    def about(self):
        """What each program says of itself."""
        first = {pod.program: pod for pod in reversed(self.pods)}
        return {program: first[program].witness.ask("about") for program in self.programs}

    @staticmethod
    def together(action, things, at_once=TOGETHER):
        """Does the same with all things, a few at a time; the first error counts."""
        with ThreadPoolExecutor(at_once) as pool:
            return list(pool.map(action, things))
