"""A way of playing the tutorial with real processes on loopback: a fake-istiod, and two pods with their agents.

What a cluster's controllers do, the harness does: Pods come with the simulated ones' names, and EndpointSlices once the
pods are ready.
"""

from .. import manifests
from ..cases.client_status import ask_istiod
from ..failures import KNOWN
from ..istiod import Istiod
from ..mesh import Spec
from ..pod import Pod
from ..results import Wrong
from ..waiting import Missing, until
from .expectations import complaints
from .outcome import HANDSHAKE, Done
from .transport import spoken, told

APPLY_SECONDS = 60
READY_SECONDS = 60
CONVERGE_SECONDS = 60
TRANSPORT_SECONDS = 60
# Real time is not simulated time. Calls at some rate are sent at a fifth of it, so that what the article expects of
# the time between them, that the next connection is ready, is true of a busy machine, too.
SLOWER = 5
SERVICE, APPLICATION = "echo", {"app": "echo"}
# The port of the article's Service that is served with xDS, by its name and by its number in a pod.
GRPC, GRPC_NUMBER = "grpc", 17070
LISTENER = "type.googleapis.com/envoy.config.listener.v3.Listener"


class Way:
    program = None

    def __init__(self, name, simulated, files, folder, loopback, installed, children):
        self.name, self.installed, self.children = name, installed, children
        self._files = files
        self.loopback = loopback
        self.istiod = Istiod(installed.istiod, folder, children, f"{name}.fake-istiod")
        # Every application that runs has a server on xDS; it has no channel between two steps.
        self.istiod.expects = lambda: {pod.node_id: 1 for pod in self.pods.values() if self.is_running(pod)}
        self.pods = {one.workload: self._pod(one, folder) for one in simulated}

    def _pod(self, one, folder):
        spec = Spec(one.namespace, one.name, self.program, {**APPLICATION, "version": one.version},
                    {name: one.version for name in self.served(one)}, ports=self.served(one),
                    arguments=tuple(one.arguments["istio-proxy"]), service_account="default")
        return Pod(spec, self.loopback, folder, f"{self.name}.")

    def workload(self, pod):
        return next(workload for workload, one in self.pods.items() if one is pod)

    def play(self, step):
        """What comes of a step, or a cell that says why nothing does."""
        try:
            outcome = getattr(self, f"_{step.verb}")(step)
            if step.expect.get("cause") == HANDSHAKE:
                # A server that has died breaks handshakes off, too.
                self._await_servers()
            wrong = list(complaints(step, outcome)) if step.verb == "call" else []
            return outcome.but("; ".join(wrong)) if wrong else outcome
        except KNOWN as error:
            return self.excuse() or Done(getattr(error, "text", "stuck"), None, str(error))

    @staticmethod
    def rate(step):
        """Calls a second; none for all at once."""
        return max(step.what["qps"] // SLOWER, 1) if "qps" in step.what else None

    def restart(self):
        """Starts again what ended by a defect that is not ours."""

    def excuse(self):
        """A cell that tells of such a defect, if one has shown."""

    def _apply(self, step):
        """Copies the files, and waits until fake-istiod has those objects of them that the simulated cluster has."""
        before = len(self.istiod.events("istiod.files.applied"))
        for file in step.files:
            self.istiod.place(file, self.manifest(file))

        def condition():
            names = self.istiod.applied(before)
            missing = set(step.objects) - set(names)
            return Missing(f"not {', '.join(sorted(missing))}") if missing else [names]

        (names,) = until("fake-istiod reads the objects", APPLY_SECONDS, condition)
        return Done.applied(names)

    def manifest(self, file):
        """The text of a file of the article."""
        return (self._files / file).read_text()

    def start_agents(self):
        space = next(iter(self.pods.values())).namespace
        objects = [manifests.service_account(space, "default")]
        objects += [manifests.pod(space, one.name, "default", one.spec.labels, one.ports) for one in self.pods.values()]
        self.istiod.write("pods", objects)
        for pod in self.pods.values():
            pod.start_agent(self.installed, self.istiod, self.children)

    def await_agents(self):
        for pod in self.pods.values():
            pod.await_agent()

    def _ready(self, step):
        for workload in step.workloads or self.pods:
            self.await_application(self.pods[workload])
        slices = [
            manifests.endpoint_slice(pod.namespace, SERVICE, self.target_ports(pod), pod.address, pod.name)
            for pod in self.pods.values()
        ]
        self.istiod.write("slices", slices)

        def read():
            return len({name for name in self.istiod.applied() if name.startswith("EndpointSlice ")}) == len(slices)

        until("fake-istiod reads the slices", APPLY_SECONDS, read)
        self.istiod.converge(CONVERGE_SECONDS)
        return Done.ready(step.workloads)

    def _get(self, _):
        def row(pod):
            ready = (pod.agent_readiness() is True, self.is_ready(pod))
            return f"{sum(ready)}/{len(ready)}", "Running" if self.is_running(pod) else "Error"

        return Done.pods({workload: row(pod) for workload, pod in self.pods.items()})

    def _converged(self, _):
        self.istiod.converge(CONVERGE_SECONDS)
        # What was acknowledged is not yet in use: servers go on to speak as before for a moment.
        self._await_servers()
        return Done.converged()

    def _await_servers(self):
        """Waits until every server speaks as it is told."""
        def condition(pod, wanted):
            if not self.is_running(pod):
                return True
            found = spoken(pod, pod.ports[GRPC])
            return found == wanted or Missing(found)

        for pod, wanted in self._wanted().items():
            until(f"{pod.id} speaks {wanted}", TRANSPORT_SECONDS, lambda: condition(pod, wanted))
        if ended := [pod.id for pod in self.pods.values() if not self.is_running(pod)]:
            raise Wrong("ended", f"the application has ended in {', '.join(ended)}")

    def _wanted(self):
        """What fake-istiod tells the servers to speak, as it says on streams of the harness' own."""
        names = {pod: f"xds.istio.io/grpc/lds/inbound/{pod.address}:{pod.ports[GRPC]}" for pod in self.pods.values()}
        wanted = {}
        answers = ask_istiod(self, {pod: {LISTENER: [name]} for pod, name in names.items()})
        for (pod, name), sent in zip(names.items(), answers):
            if name not in sent.get(LISTENER, {}):
                raise Wrong("no listener", f"fake-istiod has no Listener {name}")
            wanted[pod] = told(sent[LISTENER][name])
        return wanted
