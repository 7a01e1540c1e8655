"""What came of a step, in a form that can be compared."""

import re
from collections import Counter
from dataclasses import dataclass, field, replace

from .. import reasons
from ..results import short

# As ForwardEcho tells that calls failed.
ERRORS = re.compile(r"^(\d+)/(\d+) requests had errors; first error: (?:rpc error: code = (\w+) desc = )?(.*)", re.S)
DOMAIN = "spiffe://cluster.local/"
# The scenario's words for why a call failed, of which a program's text can tell.
HANDSHAKE = "tls-handshake"
CAUSES = {HANDSHAKE: reasons.HANDSHAKE}


@dataclass(frozen=True)
class Done:
    """A step that is no call. `same` must be equal in all ways."""

    text: str
    same: object
    complaint: str = ""

    @classmethod
    def applied(cls, objects):
        return cls(f"{len(objects)} applied", sorted(objects))

    @classmethod
    def ready(cls, workloads):
        return cls(f"{len(workloads)} ready" if workloads else "ready", sorted(workloads))

    @classmethod
    def pods(cls, rows):
        """`rows` maps workloads to what `kubectl get pods` says of READY and STATUS."""
        return cls(", ".join(sorted({" ".join(row) for row in rows.values()})), rows)

    @classmethod
    def converged(cls):
        return cls("converged", True)

    def but(self, complaint):
        return replace(self, complaint=complaint)


@dataclass
class Called:
    """What became of the calls of a step."""

    codes: Counter = field(default_factory=Counter)
    workloads: Counter = field(default_factory=Counter)
    callers: Counter = field(default_factory=Counter)
    causes: set = field(default_factory=set)
    complaint: str = ""

    @classmethod
    def of(cls, workloads):
        """None yet, of these workloads."""
        return cls(workloads=Counter(dict.fromkeys(workloads, 0)))

    def answer(self, workload, caller, count=1):
        self.codes["OK"] += count
        self.workloads[workload] += count
        self.callers[caller] += count

    def end(self, codes, cause):
        """Adds calls of which some failed, and why."""
        self.codes.update(codes)
        self.causes.add(cause)

    @property
    def same(self):
        return dict(self.codes), self.causes, set(self.callers)

    @property
    def text(self):
        if set(self.codes) != {"OK"}:
            ends = ", ".join(f"{count} {short(code)}" for code, count in sorted(self.codes.items()))
            reasons = {one if one in CAUSES else "for another reason" for one in self.causes}
            return " ".join([ends, *sorted(reasons)])
        calls = self.codes["OK"]
        counts = "+".join(str(count) for _, count in sorted(self.workloads.items()))
        known = sorted(caller.removeprefix(DOMAIN) for caller in self.callers if caller)
        return " ".join([f"{calls} OK", *([counts] if calls > 1 else []), *known])

    def but(self, complaint):
        return replace(self, complaint=complaint)


def forwarded(message, count):
    """Codes of a batch by what ForwardEcho says of its failure, and the first error."""
    found = ERRORS.match(message)
    if not found:
        return {"UNKNOWN": count}, message
    failed, total = int(found[1]), int(found[2])
    codes = {in_capitals(found[3] or "Unknown"): failed}
    if total > failed:
        codes["OK"] = total - failed
    return codes, found[4]


def in_capitals(code):
    """`DeadlineExceeded`, as Go writes codes, in gRPC's own spelling."""
    return "CANCELLED" if code == "Canceled" else re.sub(r"(?<=[a-z])(?=[A-Z])", "_", code).upper()


def cause(text):
    """The scenario's word for why a call failed, as far as a program's text tells; else the text."""
    return next((word for word, pattern in CAUSES.items() if pattern.search(text)), text)
