"""Defects of the programs themselves, recognised by what this run shows."""

import re

# grpc-js-xds 1.14.1 compares the transport sockets of the old and the new filter chains the wrong way round, and then
# reads a field of the one that is missing.
CRASHES = {
    "grpc-js": re.compile(r"TypeError: Cannot read properties of null \(reading 'typed_config'\)\s*\n\s*at (.*)"),
}

# grpc-go gives a channel its new routes before its new clusters: a call in between is routed to a cluster that the
# channel does not have yet, and fails. Few calls can hit the gap.
LOST = {"grpc-go": re.compile(r"^UNAVAILABLE: .*unknown cluster selected for RPC")}
LOST_MAX = 3


def lost(program_name, answer):
    """Why calls failed, if a few did and all by a defect of the client that is known."""
    known = LOST.get(program_name)
    failures = sum(count for code, count in answer["codes"].items() if code != "OK")
    if known is None or failures > LOST_MAX or not all(known.search(error) for error in answer["errors"]):
        return None
    return f"the client loses a call as it switches to other clusters: {answer['errors'][0]}"

# grpc-js-xds 1.14.1 keeps what it had of a resource that was deleted, and takes it for no news when it comes back.
FORGETFUL = {"grpc-js"}


def forgets(witness, name):
    """Whether the program still takes a resource for deleted that it was sent again, and acknowledged."""
    if witness.program.name not in FORGETFUL:
        return None
    status = {one["name"]: one["status"] for one in witness.ask("csds")["resources"]}.get(name)
    if status != "DOES_NOT_EXIST":
        return None
    return f"a resource that was deleted and comes back unchanged stays deleted: {status} (CSDS), though acknowledged"


def crash(witness):
    """The program's last words, if it has ended by a defect that is known."""
    known = CRASHES.get(witness.program.name)
    if witness.child.is_running() or known is None:
        return None
    found = known.search(witness.child.said())
    if found is None:
        return None
    where = re.search(r"(grpc-js-xds/.*?:\d+)", found[1])
    return f"the server's process ends by itself: {found[0].splitlines()[0]} at {where[1] if where else found[1]}"
