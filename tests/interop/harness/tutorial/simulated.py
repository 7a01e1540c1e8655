"""The tutorial as `hermesh run` plays it: its steps, its pods, and what came of each step."""

import json
import subprocess
from dataclasses import dataclass

from .expectations import complaints
from .outcome import Called, Done, forwarded
from .step import Step

RUN_SECONDS = 60
AGENT = "istio-proxy"


@dataclass(frozen=True)
class SimulatedPod:
    """A pod as the cluster's controllers and the injection made it."""

    namespace: str
    name: str
    workload: str
    # The arguments of each container.
    arguments: dict

    @property
    def application(self):
        """The arguments of the one container that is not the agent."""
        (own,) = (words for name, words in self.arguments.items() if name != AGENT)
        return own

    @property
    def version(self):
        return self.application[self.application.index("--version") + 1]


class Simulated:
    """A way that is over already: what it did is read from its report and its trace."""

    name = "simulated"

    def __init__(self, installed, scenario, trace):
        command = [installed.hermesh, "run", "--format", "json", "--trace", trace, scenario]
        done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_SECONDS)
        if done.returncode > 1:
            raise RuntimeError(f"hermesh run: {done.stderr.strip() or done.stdout.strip()[-500:]}")
        (played,) = json.loads(done.stdout)["runs"]
        # Objects of the scenario's own file are no entry of `steps`.
        self._entries = {number: one for number, one in enumerate(played["steps"]) if one["step"]}
        objects = applied(trace)
        self.steps = [
            Step.read(number, one, names) for (number, one), names in zip(self._entries.items(), objects, strict=True)
        ]
        self.pods = list(pods(played, trace))

    def play(self, step):
        entry = self._entries[step.position]
        if step.verb == "call":
            outcome = called(entry["calls"], {pod.workload for pod in self.pods})
        elif step.verb == "get":
            outcome = Done.pods({row["workload"]: (row["ready"], row["status"]) for row in entry["pods"]})
        elif entry["failure"]:
            outcome = Done(entry["outcome"], None)
        elif step.verb == "apply":
            outcome = Done.applied(step.objects)
        elif step.verb == "ready":
            outcome = Done.ready(step.workloads)
        else:
            outcome = Done.converged()
        # Two judges: hermesh, and the one of the other ways.
        wrong = list(complaints(step, outcome)) if step.verb == "call" else []
        if failure := entry["failure"]:
            wrong.insert(0, f"{failure['place']}: expected {failure['expected']}, saw {failure['seen']}")
        return outcome.but("; ".join(wrong)) if wrong else outcome


def applied(trace):
    """The objects that each step creates or changes; not those that controllers make of them."""
    steps, orders = {}, {}
    for event in events(trace, "scenario.step", "mesh.apply", "object.applied"):
        cause = event.get("cause")
        if event["kind"] == "scenario.step":
            steps[event["seq"]] = []
        elif event["kind"] == "mesh.apply":
            orders[event["seq"]] = cause
        elif orders.get(cause) in steps and event["change"] in ("created", "configured"):
            steps[orders[cause]].append(event["object"])
    return list(steps.values())


def events(trace, *kinds):
    with trace.open() as lines:
        for line in lines:
            if any(f'"{kind}"' in line for kind in kinds) and (event := json.loads(line))["kind"] in kinds:
                yield event


def pods(played, trace):
    """The pods that the last `get pods` showed."""
    rows = next(entry["pods"] for entry in reversed(played["steps"]) if "pods" in entry)
    arguments = {}
    for event in events(trace, "container.started"):
        *pod, container = event["at"].split("/")
        arguments.setdefault("/".join(pod), {})[container] = event["args"]
    for row in rows:
        started = arguments[f"{row['namespace']}/{row['name']}"]
        containers = {name: started[name] for name in row["containers"]}
        yield SimulatedPod(row["namespace"], row["name"], row["workload"], containers)


def called(batches, workloads):
    outcome = Called.of(workloads)
    for batch in batches:
        failure = batch["failure"]
        if failure is None:
            for answer in batch["answers"]:
                outcome.answer(answer["workload"], answer["caller"])
        else:
            codes, text = forwarded(failure["message"], batch["count"])
            outcome.end(codes, failure["cause"] or text)
    return outcome
