"""A step of a scenario, as hermesh's report repeats it."""

from dataclasses import dataclass

from .outcome import CAUSES

# What a call on sockets can be told; anything else is not understood here.
CALL = {"from", "url", "count", "qps", "headers", "grep"}
EXPECT = {"ok", "to", "share", "error", "cause", "caller"}
XDS = "xds:///"


@dataclass(frozen=True)
class Step:
    position: int
    title: str
    verb: str
    # What stands behind the verb.
    what: object
    expect: dict
    # The objects that it creates or changes in the simulated cluster, as `Kind namespace/name`.
    objects: tuple

    @classmethod
    def read(cls, position, entry, objects):
        written = dict(entry["step"])
        name, expect = written.pop("name", None), written.pop("expect", {})
        ((verb, what),) = written.items()
        if verb == "wait" and isinstance(what, dict):
            verb = next((kind for kind in ("ready", "converged") if kind in what), verb)
        title = f"{entry['number']} {name or entry['action']}"
        return cls(position, title, verb, what, expect, tuple(objects))

    def unplayable(self, workloads, folder, started):
        """What of it cannot be played on sockets, in words."""
        yield from sorted(set(self.expect) - EXPECT)
        if (cause := self.expect.get("cause")) and cause not in CAUSES:
            yield f"cause {cause}"
        if self.verb == "call":
            yield from sorted(set(self.what) - CALL)
            yield from (url for url in self.urls if not url.startswith(XDS))
            if self.what["from"] not in workloads:
                yield f"from {self.what['from']}, which is none of {', '.join(sorted(workloads))}"
        elif self.verb == "apply":
            yield from (f"{file}, which is no file" for file in self.files if not (folder / file).is_file())
        elif self.verb in ("ready", "converged"):
            yield from sorted(set(self.what) - {self.verb})
        elif (self.verb, self.what) != ("get", "pods"):
            yield self.verb
        if self.verb == "ready":
            yield from (f"{one}, which is no workload" for one in self.workloads if one not in workloads)
            if not started and self.workloads and set(self.workloads) != workloads:
                yield "the first wait for readiness does not name all workloads"
        elif self.verb != "apply" and not started:
            yield f"{self.verb} before the first wait for readiness, which starts the pods"

    @property
    def files(self):
        return many(self.what)

    @property
    def workloads(self):
        """Those to wait for; none for all."""
        return [] if self.what["ready"] == "all" else many(self.what["ready"])

    @property
    def urls(self):
        return many(self.what["url"])

    @property
    def count(self):
        return self.what.get("count", 1)

    @property
    def total(self):
        return self.count * len(self.urls)


def playable(steps, workloads, folder):
    """Refuses what cannot be played on sockets, before anything is started. `folder` has the files."""
    started = False
    for step in steps:
        if strange := list(step.unplayable(workloads, folder, started)):
            raise RuntimeError(f"step {step.title}: the harness cannot play this on sockets: {'; '.join(strange)}")
        started = started or step.verb == "ready"


def many(value):
    """A list, where a single thing may stand for itself."""
    return value if isinstance(value, list) else [value]
