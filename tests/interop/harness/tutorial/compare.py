"""Whether a step comes to the same in all ways, and to what is expected."""

from ..results import FAIL, LACK, SAME, WAYS, Cell, Row, failed, passed
from .simulated import Simulated


def compare(step, outcomes):
    """A row with a cell for each way; the simulated one is what the others are compared with."""
    reference = outcomes[Simulated.name]
    row = Row(step.title, {name: judge(one, reference) for name, one in outcomes.items()}, WAYS)
    row.verdict = verdict(row.cells)
    return row


def judge(outcome, reference):
    if isinstance(outcome, Cell):
        return outcome
    if outcome.complaint:
        return failed(outcome.text, outcome.complaint)
    if outcome.same != reference.same:
        return failed(outcome.text, f"differs from the simulation: {outcome.same} instead of {reference.same}")
    return passed(outcome.text)


def verdict(cells):
    """Whether the ways agree, or which do not."""
    def those(verdict):
        return ", ".join(name for name, cell in cells.items() if cell.verdict == verdict)

    if all(cell.verdict == FAIL for cell in cells.values()):
        return "fails in all ways"
    if different := those(FAIL):
        return f"differs: {different}"
    return f"{SAME}, without {those(LACK)}" if those(LACK) else SAME
