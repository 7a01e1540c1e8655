"""The tutorial with a program of others as the application in both pods: the one in the first calls by its own xDS."""

import itertools

from ..defects import crash
from ..results import Wrong, lacking
from ..witness import Gone, Refused
from .outcome import Called, Done, cause
from .transport import SPOKEN, spoken
from .way import GRPC, GRPC_NUMBER, Way

CONCURRENCY = 8
TIMEOUT_MS = 5000
TARGET_PORT = f"targetPort: {GRPC_NUMBER}\n"


class ProgramWay(Way):
    def __init__(self, name, simulated, files, folder, loopback, installed, children, program):
        self.program = program
        super().__init__(name, simulated, files, folder, loopback, installed, children)
        self._channels = itertools.count(1)
        self._serving = {}
        # Programs of whose end a cell has told, and an end that none has told of yet.
        self._told, self._untold = [], None

    def about(self):
        return self.pods[next(iter(self.pods))].witness.ask("about")

    def served(self, _):
        """The number that the Service sends to; none, for the harness to choose, where two pods cannot share it."""
        return {GRPC: None if self.program.binds_everywhere else GRPC_NUMBER}

    def manifest(self, file):
        text = super().manifest(file)
        if self.program.binds_everywhere:
            return text.replace(TARGET_PORT, f"targetPort: {GRPC}\n")
        return text

    def target_ports(self, pod):
        return {GRPC: pod.ports[GRPC]}

    def start_applications(self):
        for workload, pod in self.pods.items():
            pod.start_program(self.installed, self.children)
            self._serving[workload] = pod.serve()

    def restart(self):
        """Starts programs again that ended by a defect of their own, as the kubelet would."""
        for workload, pod in self.pods.items():
            if pod.witness and (found := crash(pod.witness)):
                if pod.witness not in self._told:
                    self._untold = again(found)
                pod.start_program(self.installed, self.children)
                self._serving[workload] = pod.serve()

    def play(self, step):
        if step.verb == "ready":
            return super().play(step)
        try:
            for workload in list(self._serving):
                self.await_application(self.pods[workload])
        except (Gone, Refused, RuntimeError) as error:
            return Done("stuck", None, str(error))
        outcome = super().play(step)
        untold, self._untold = self._untold, None
        return untold if untold and not getattr(outcome, "complaint", "") else outcome

    def await_application(self, pod):
        pod.await_serving(self._serving.pop(self.workload(pod), []))
        if not self.is_running(pod):
            raise RuntimeError(pod.witness.child.ending())

    def excuse(self):
        """A cell that tells of a defect of the program, if one has shown."""
        witnesses = [pod.witness for pod in self.pods.values() if pod.witness]
        ended = {witness: found for witness in witnesses if (found := crash(witness))}
        self._told += ended
        return next((again(found) for found in ended.values()), None)

    def is_running(self, pod):
        return pod.witness is not None and pod.witness.child.is_running()

    def is_ready(self, pod):
        return spoken(pod, pod.ports[GRPC]) in SPOKEN

    def _call(self, step):
        caller, outcome = self.pods[step.what["from"]], Called.of(self.pods)
        # At a rate, one after the other: what waits for the first connection would all go to it.
        concurrency = 1 if self.rate(step) else min(step.count, CONCURRENCY)
        for url in step.urls:
            channel = f"tutorial {next(self._channels)}"
            answer = caller.witness.ask(
                "call", channel=channel, target=url, count=step.count, concurrency=concurrency, qps=self.rate(step),
                timeout_ms=TIMEOUT_MS, metadata=step.what.get("headers", {}))
            caller.witness.ask("close", channel=channel)
            self._count(outcome, answer)
        return outcome

    def _count(self, outcome, answer):
        workloads = {pod.spec.labels["version"]: workload for workload, pod in self.pods.items()}
        outcome.codes.update(answer["codes"])
        outcome.causes.update(cause(error) for error in answer["errors"])
        for version, count in answer["versions"].items():
            if version not in workloads:
                raise Wrong("stranger", f"version {version!r} answers, which no pod has")
            outcome.workloads[workloads[version]] += count
        outcome.callers.update(answer["identities"])
        if unknown := answer["codes"].get("OK", 0) - sum(answer["identities"].values()):
            outcome.callers[None] += unknown


def again(crash):
    return lacking("crash", f"{crash}; it is started again")
