"""The table: for the terminal and for a page."""

from .results import FAIL, LACK, PASS

MARK = {PASS: "", FAIL: " !", LACK: " ~"}


def text_table(rows, programs):
    """Two aligned tables: results of pairs, results of programs."""
    pairs = [row for row in rows if not row.of_programs]
    alone = [row for row in rows if row.of_programs]
    return "\n".join(aligned(part, keys(part, programs), programs) for part in (pairs, alone) if part)


def markdown_table(rows, programs):
    parts = []
    for part in ([row for row in rows if not row.of_programs], [row for row in rows if row.of_programs]):
        if not part:
            continue
        columns = keys(part, programs)
        head = ["case", *(title(key, programs, "→") for key in columns)]
        lines = [head, ["---"] * len(head)]
        lines += [[row.label, *(shown(row, key) for key in columns)] for row in part]
        parts.append("\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines))
    return "\n\n".join(parts) + "\n"


def totals(rows):
    cells = [cell for row in rows for cell in row.cells.values()]
    return {verdict: sum(cell.verdict == verdict for cell in cells) for verdict in (PASS, FAIL, LACK)}


def summary(rows):
    counts = totals(rows)
    text = f"{counts[PASS]} passed, {counts[FAIL]} failed"
    return f"{text}, {counts[LACK]} beyond what a program can do" if counts[LACK] else text


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
    ordered = [*names, *((client, server) for client in names for server in names)]
    return [key for key in ordered if key in present]


def title(key, programs, arrow):
    short = {program.name: program.short for program in programs}
    return f"{short[key[0]]}{arrow}{short[key[1]]}" if isinstance(key, tuple) else key


def shown(row, key):
    cell = row.cells.get(key)
    return "" if cell is None else cell.text + MARK[cell.verdict]


def aligned(rows, columns, programs):
    table = [["case", *(title(key, programs, "->") for key in columns)]]
    table += [[row.label, *(shown(row, key) for key in columns)] for row in rows]
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths)) for line in table)
    return "".join(f"{line.rstrip()}\n" for line in padded)
