"""What became of the cases: rows of cells."""

from dataclasses import dataclass, field

PASS, FAIL, LACK = "pass", "fail", "lack"
# Which table a row belongs to.
PAIRS, PROGRAMS, WAYS = TABLES = "pairs", "programs", "ways"
# How the verdict on a step begins that came to the same in all ways.
SAME = "same"


@dataclass(frozen=True)
class Cell:
    """One result. `lack` is what a program cannot do, as this run has shown; the note says how."""

    verdict: str
    text: str
    note: str = ""


@dataclass
class Row:
    """A case's results, by (client, server), by program, or by way; the keys are names."""

    label: str
    cells: dict = field(default_factory=dict)
    table: str = PAIRS
    # What the cells come to together, where that is said.
    verdict: str = ""


class Wrong(Exception):
    """A case's expectation is not met. `text` is what the cell shows."""

    def __init__(self, text, note):
        super().__init__(note)
        self.text = text


def passed(text):
    return Cell(PASS, text)


def failed(text, note):
    return Cell(FAIL, text, note)


def lacking(text, note):
    return Cell(LACK, text, note)


SHORT = {"UNAVAILABLE": "UNAV", "DEADLINE_EXCEEDED": "DEADLINE", "UNIMPLEMENTED": "UNIMPL"}


def codes(answer):
    """`OK`, or `UNAV 3, OK 2`."""
    counts = answer["codes"]
    if len(counts) == 1:
        return short(next(iter(counts)))
    return ", ".join(f"{short(code)} {count}" for code, count in sorted(counts.items())) or "no calls"


def short(code):
    return SHORT.get(code, code)


def all_are(answer, code):
    """Checks that every call ended with `code`, and that there were calls."""
    if set(answer["codes"]) != {code}:
        raise Wrong(codes(answer), f"expected {code} alone, got {answer['codes']}: {'; '.join(answer['errors'])}")


def all_reach(answer, version):
    """Checks that every call was answered, by `version`."""
    all_are(answer, "OK")
    if answer["versions"] != {version: answer["codes"]["OK"]}:
        raise Wrong("wrong", f"expected {version} alone, got {answer['versions']}")


def all_from(answer, identity):
    """Checks that every call was answered, and that the server saw who called: `None` for nobody."""
    all_are(answer, "OK")
    expected = {identity: answer["codes"]["OK"]} if identity else {}
    if answer["identities"] != expected:
        raise Wrong("wrong", f"expected callers {expected or 'without identity'}, got {answer['identities']}")
