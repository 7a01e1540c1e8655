"""The tables: for the terminal and for a page."""

from .results import FAIL, LACK, PAIRS, PASS, PROGRAMS, SAME, TABLES, WAYS

MARK = {PASS: "", FAIL: " !", LACK: " ~"}


# What the first column of each table holds.
FIRST = {PAIRS: "case", PROGRAMS: "case", WAYS: "step of the tutorial"}


def text_tables(rows, programs):
    """Aligned tables: results of pairs, of programs, and of ways."""
    return "\n".join(aligned(lines) for _, lines in tables(rows, programs, "->"))


def markdown_tables(rows, programs):
    """The same for a page, by table."""
    return {name: markdown(lines) for name, lines in tables(rows, programs, "→")}


def tables(rows, programs, arrow):
    """The lines of each table that has rows, beginning with its head."""
    for name in TABLES:
        part = [row for row in rows if row.table == name]
        if not part:
            continue
        columns = keys(part, programs)
        verdicts = ["verdict"] if any(row.verdict for row in part) else []
        lines = [[FIRST[name], *(title(key, programs, arrow) for key in columns), *verdicts]]
        for row in part:
            lines.append([row.label, *(shown(row, key) for key in columns), *([row.verdict] if verdicts else [])])
        yield name, lines


def markdown(lines):
    head, *rest = lines
    lines = [head, ["---"] * len(head), *rest]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def totals(rows):
    cells = [cell for row in rows for cell in row.cells.values()]
    return {verdict: sum(cell.verdict == verdict for cell in cells) for verdict in (PASS, FAIL, LACK)}


def summary(rows):
    counts = totals(rows)
    text = f"{counts[PASS]} passed, {counts[FAIL]} failed"
    return f"{text}, {counts[LACK]} beyond what a program can do" if counts[LACK] else text


def agreement(rows):
    """How many steps of the tutorial came to the same, in a sentence; nothing if it was not played."""
    verdicts = [row.verdict for row in rows if row.table == WAYS]
    if not verdicts:
        return ""
    text = f"{verdicts.count(SAME)} of {len(verdicts)} steps of the tutorial came to the same in all ways"
    partly = sum(verdict.startswith(f"{SAME}, ") for verdict in verdicts)
    return f"{text}, {partly} without a program that cannot" if partly else text


def notes(rows, programs, verdict):
    """One line for each distinct note, with the cells it belongs to."""
    found = {}
    for row in rows:
        for key, cell in row.cells.items():
            if cell.verdict == verdict:
                found.setdefault((row.label, cell.note), []).append(title(key, programs, "->"))
    return [f"{label} [{', '.join(where)}]: {note}" for (label, note), where in found.items()]


def keys(rows, programs):
    present = {key for row in rows for key in row.cells}
    names = [program.name for program in programs]
    pairs = [(client, server) for client in names for server in names]
    ordered = ["simulated", "echo", *names, *(program.way for program in programs), *pairs]
    return [key for key in dict.fromkeys(ordered) if key in present]


def title(key, programs, arrow):
    short = {program.name: program.short for program in programs}
    return f"{short[key[0]]}{arrow}{short[key[1]]}" if isinstance(key, tuple) else key


def shown(row, key):
    cell = row.cells.get(key)
    return "" if cell is None else cell.text + MARK[cell.verdict]


def aligned(lines):
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths)) for line in lines)
    return "".join(f"{line.rstrip()}\n" for line in padded)
