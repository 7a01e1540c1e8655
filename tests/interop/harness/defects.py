"""Defects of the programs themselves, recognised by what this run shows."""

import re

# grpc-js-xds 1.14.1 compares the transport sockets of the old and the new filter chains the wrong way round, and then
# reads a field of the one that is missing.
CRASHES = {"grpc-js": re.compile(r"TypeError: Cannot read properties of null \(reading 'typed_config'\)\s*\n\s*at (.*)")}


def crash(witness):
    """The program's last words, if it has ended by a defect that is known."""
    known = CRASHES.get(witness.program.name)
    if witness.child.is_running() or known is None:
        return None
    found = known.search(witness.child.log.read_text(errors="replace"))
    if found is None:
        return None
    where = re.search(r"(grpc-js-xds/.*?:\d+)", found[1])
    return f"the server's process ends by itself: {found[0].splitlines()[0]} at {where[1] if where else found[1]}"
