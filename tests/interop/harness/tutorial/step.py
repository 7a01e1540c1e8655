"""A step of a scenario, as hermesh's report repeats it."""

import re
from dataclasses import dataclass

# What a call on sockets can be told; anything else is not understood here.
CALL = {"from", "url", "count", "qps", "headers", "grep"}
EXPECT = {"ok", "to", "share", "error", "cause", "caller"}
APPLIED = re.compile(r"(\d+) (?:created|configured)")


@dataclass(frozen=True)
class Step:
    position: int
    title: str
    verb: str
    # What stands behind the verb.
    what: object
    expect: dict
    # How many objects it creates or changes in the simulated cluster.
    objects: int

    @classmethod
    def read(cls, position, entry):
        written = dict(entry["step"])
        name, expect = written.pop("name", None), written.pop("expect", {})
        ((verb, what),) = written.items()
        if verb == "wait" and isinstance(what, dict):
            verb = next((kind for kind in ("ready", "converged") if kind in what), verb)
        title = f"{entry['number']} {name or entry['action']}"
        objects = sum(int(count) for count in APPLIED.findall(entry.get("outcome", ""))) if verb == "apply" else 0
        step = cls(position, title, verb, what, expect, objects)
        step._check()
        return step

    def _check(self):
        strange = set(self.expect) - EXPECT
        if self.verb == "call":
            strange |= set(self.what) - CALL
        elif self.verb not in ("apply", "ready", "converged") and (self.verb, self.what) != ("get", "pods"):
            strange.add(self.verb)
        if strange:
            names = ", ".join(sorted(strange))
            raise RuntimeError(f"step {self.title}: {names}: the harness cannot play this on sockets")

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


def many(value):
    """A list, where a single thing may stand for itself."""
    return value if isinstance(value, list) else [value]
