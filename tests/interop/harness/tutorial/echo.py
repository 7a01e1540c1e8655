"""The tutorial with hermesh-echo as the article has it: its own flags and files, called by ForwardEcho from outside."""

import json
import re
import subprocess
import urllib.error
import urllib.request
from collections import Counter

from ..install import HERE
from ..network import is_free
from ..processes import whole_lines
from ..results import Wrong
from ..waiting import Missing, until
from .outcome import Called, cause, forwarded
from .way import GRPC, GRPC_NUMBER, READY_SECONDS, Way

FORWARD_SECONDS = 60
LOG_SECONDS = 60
LOOK_SECONDS = 2
# The target ports of the article's Service, and where its readiness probe looks.
TARGETS = {"http": 18080, GRPC: GRPC_NUMBER, "tcp": 19090}
PROBED = 8080
LISTENING = ("metrics", "port", "tcp", "grpc", "xds-grpc-server")


class EchoWay(Way):
    def __init__(self, name, simulated, files, folder, loopback, installed, children):
        self._arguments = {one.workload: one.application for one in simulated}
        super().__init__(name, simulated, files, folder, loopback, installed, children)
        self._numbers = {workload: self._free(pod) for workload, pod in self.pods.items()}
        self._running = {}
        # How many requests have been counted, by workload.
        self._requested = {}

    def served(self, _):
        return TARGETS

    def _free(self, pod):
        """The article's port numbers, or others where those are taken on this machine."""
        found = {}
        for number in sorted({int(number) for _, number in ports(self._arguments[self.workload(pod)])}):
            taken = not is_free(number, pod.address)
            if taken and number == GRPC_NUMBER:
                raise RuntimeError(f"port {number} of {pod.address} is taken; the article's Service needs it")
            found[number] = self.loopback.port() if taken else number
        return found

    def target_ports(self, pod):
        numbers = self._numbers[self.workload(pod)]
        return {name: numbers[number] for name, number in TARGETS.items()}

    def start_applications(self):
        for workload, pod in self.pods.items():
            numbers = self._numbers[workload]
            # Two pods share one machine here: each listens on its own address alone.
            command = [self.installed.echo, "--bind-ip"]
            for flag, value in flags(self._arguments[workload]):
                if flag in LISTENING:
                    value = ",".join(str(numbers[int(number)]) for number in value.split(","))
                command.append(f"--{flag}={value}")
            environment = pod.environment()
            if environment["HERMESH_LOG"] == "off":
                # Its events tell who called.
                environment["HERMESH_LOG"] = "info"
            self._running[workload] = self.children.start(f"{pod.id}.echo", command, environment)

    def is_running(self, pod):
        child = self._running.get(self.workload(pod))
        return child is not None and child.is_running()

    def is_ready(self, pod):
        port = self._numbers[self.workload(pod)][PROBED]
        try:
            with urllib.request.urlopen(f"http://{pod.address}:{port}/", timeout=LOOK_SECONDS) as response:
                return response.status == 200
        except (OSError, urllib.error.URLError):
            return False

    def await_application(self, pod):
        child = self._running[self.workload(pod)]

        def condition():
            if not child.is_running():
                raise RuntimeError(child.ending())
            return self.is_ready(pod) or Missing(f"its probe finds nothing; it logs to {child.log}")

        until(f"{pod.id} is ready", READY_SECONDS, condition)
        # Before it is ready, it calls itself.
        workload = self.workload(pod)
        self._requested.setdefault(workload, len(self._requests(workload)))

    def _call(self, step):
        workload, outcome = step.what["from"], Called.of(self.pods)
        versions = Counter()
        for batch in self._forward(workload, step):
            if "output" in batch:
                versions.update(version for text in batch["output"] for version in VERSION.findall(text))
            elif batch["code"] != "UNKNOWN":
                raise Wrong(batch["code"], f"ForwardEcho itself failed: {batch['code']}: {batch['message']}")
            else:
                codes, error = forwarded(batch["message"], step.count)
                outcome.end(codes, cause(error))
        # As in the simulation, the answers tell who answered, and the servers' own events who called.
        all_ok, surplus = not outcome.codes, []
        for name, pod in self.pods.items():
            answers = versions.pop(pod.spec.labels["version"], 0)
            callers = self._callers(name, answers)
            for caller, count in Counter(callers[:answers]).items():
                outcome.answer(name, caller, count)
            if len(callers) > answers:
                surplus.append(f"{name} logs {len(callers)} requests, and has answered {answers}")
        if surplus and all_ok:
            raise Wrong("more", "; ".join(surplus))
        if versions:
            raise Wrong("stranger", f"{dict(versions)} answer, which no pod has as its version")
        return outcome

    def _forward(self, workload, step):
        """What ForwardEcho on the pod's plain port says, URL by URL; as grpcurl in the article."""
        arguments = ports(self._arguments[workload])
        xds = {number for flag, number in arguments if flag == "xds-grpc-server"}
        plain = next(number for flag, number in arguments if flag == "grpc" and number not in xds)
        pod, calls = self.pods[workload], []
        for url in step.urls:
            headers = [{"key": key, "value": value} for key, value in step.what.get("headers", {}).items()]
            calls.append({"url": url, "count": step.count, "qps": self.rate(step) or 0, "headers": headers})
        address = f"{pod.address}:{self._numbers[workload][int(plain)]}"
        command = [self.installed.python, "-B", HERE / "harness" / "forward.py", self.installed.generated, address]
        done = subprocess.run(command, input=json.dumps(calls), capture_output=True, text=True, timeout=FORWARD_SECONDS)
        if done.returncode:
            raise Wrong("no ForwardEcho", done.stderr.strip().splitlines()[-1])
        return json.loads(done.stdout)

    def _callers(self, workload, answers):
        """Who called, request by request, by the events of a server that has answered so often in this step.

        There are more of them if a request was not answered, such as one that was tried again. One that comes to the
        log later shows in the next step. Where calls failed, nobody knows how many there should be: the first are taken
        for those that were answered.
        """
        begun = self._requested[workload]

        def condition():
            found = self._requests(workload)[begun:]
            return [found] if len(found) >= answers else Missing(f"{len(found)} of {answers}")

        (found,) = until(f"{workload} logs its requests", LOG_SECONDS, condition)
        self._requested[workload] += len(found)
        return [event["caller"] for event in found]

    def _requests(self, workload):
        port = self.target_ports(self.pods[workload])[GRPC]
        lines = whole_lines(self._running[workload].said())
        events = [json.loads(line)["fields"] for line in lines if '"echo.request"' in line]
        return [event for event in events if event["port"] == port]


VERSION = re.compile(r"^\[\d+ body\] ServiceVersion=(\S+)$", re.M)


def flags(words):
    """Pairs of flag and value, written in one word or in two."""
    words = iter(words)
    for word in words:
        flag, is_one, value = word.removeprefix("--").partition("=")
        yield flag, value if is_one else next(words)


def ports(words):
    return [(flag, number) for flag, value in flags(words) if flag in LISTENING for number in value.split(",")]
