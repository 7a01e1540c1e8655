"""Whether calls came to what a scenario expects of them."""

from fractions import Fraction

from ..binomial import bounds


def complaints(step, seen):
    """What is wrong with `seen`, expectation by expectation."""
    total = step.total
    for name, wanted in step.expect.items():
        if name == "ok" and dict(seen.codes) != {"OK": total}:
            yield f"expected {total} OK, got {dict(seen.codes)}: {'; '.join(sorted(seen.causes))}"
        if name == "error" and dict(seen.codes) != {wanted: total}:
            yield f"expected {total} {wanted}, got {dict(seen.codes)}: {'; '.join(sorted(seen.causes))}"
        if name == "cause" and seen.causes != {wanted}:
            yield f"expected {wanted}, got {'; '.join(sorted(seen.causes)) or 'no failure'}"
        if name == "caller" and dict(seen.callers) != {wanted: total}:
            yield f"expected the caller {wanted} in {total}, got {dict(seen.callers)}"
        if name in ("to", "share"):
            between = ranges(wanted, total) if name == "to" else shares(wanted, total)
            yield from misses(between, seen, total)


def misses(between, seen, total):
    for workload, (least, most) in between.items():
        if not least <= seen.workloads[workload] <= most:
            yield f"{workload} got {seen.workloads[workload]} of {total}, expected {least} to {most}"
    if strangers := {name for name, count in seen.workloads.items() if count} - set(between):
        yield f"{', '.join(sorted(strangers))} answered, and nobody expected it"
    if seen.workloads.total() != total:
        yield f"{seen.workloads.total()} of {total} calls were answered"


def ranges(wanted, total):
    """Bounds of `3`, `2..3` or `all`."""
    def both(calls):
        if calls == "all":
            return total, total
        least, _, most = str(calls).partition("..")
        return int(least), int(most or least)

    return {workload: both(calls) for workload, calls in wanted.items()}


def shares(wanted, total):
    """Bounds of `20%`. With more than two shares, each is a question of its own, as in hermesh."""
    questions = len(wanted) if len(wanted) > 2 else 1
    return {
        workload: bounds(total, Fraction(share.removesuffix("%")) / 100, questions)
        for workload, share in wanted.items()
    }
