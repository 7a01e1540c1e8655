"""The cases, in the order in which they run."""

from dataclasses import dataclass
from typing import Callable

from .. import mesh
from . import (
    agents, change, client_status, istiods, live, matching, mutual_tls, nacks, names, rotation, serving, several,
    shifting,
)


@dataclass(frozen=True)
class Case:
    """`run(world)` gives rows, one after the other; `begin(world)`, if any, is called before all cases, and gives what
    `run` needs."""

    name: str
    about: str
    groups: tuple
    run: Callable
    begin: Callable | None = None


CASES = (
    Case("names", "every short form of a Service's name", (mesh.PLAIN,), names.run),
    Case("shifting", "20/80 over 2000 calls", (mesh.PLAIN,), shifting.run),
    Case("matching", "header and path match, subset, another host as destination", (mesh.PLAIN,), matching.run),
    Case("mutual-tls", "plaintext and mTLS at either end", (mesh.PLAIN, mesh.STRICT), mutual_tls.run),
    Case("client-status", "what the client says it has is what fake-istiod sent", (mesh.PLAIN, mesh.STRICT),
         client_status.run),
    Case("several", "several channels and servers in one process", (mesh.MULTI,), several.run),
    Case("change", "weights, rules and endpoints change under load", (mesh.PLAIN,), change.run),
    Case("istiod-restart", "fake-istiod is killed and started again under load", (mesh.PLAIN,), istiods.run),
    Case("agent-restart", "agents are killed and started again under load", (mesh.PLAIN,), agents.run),
    Case("serving", "a server waits for its Service, and stops without it", (mesh.PLAIN, mesh.LIVE), serving.run),
    Case("live-mtls", "running programs turn to mTLS and back", (mesh.PLAIN, mesh.LIVE), live.run),
    Case("rotation", "certificates are renewed under load, and old ones expire", (mesh.MULTI,), rotation.run,
         rotation.begin),
    Case("nacks", "nobody has refused anything", (), nacks.run),
)
