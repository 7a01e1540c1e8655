"""Routes chosen by header and path, a subset, and a destination that is another host."""

from ..mesh import MATCHES
from ..pairs import each_pair, fresh_call
from ..results import all_are, all_reach, passed

CALLS = 40
FEW_CALLS = 5


def run(world):
    return [
        each_pair(world, "header x-test: v1 goes to v1", reach("header", "v1", {"x-test": "v1"})),
        each_pair(world, "header x-test: v10 goes elsewhere", reach("header", "v2", {"x-test": "v10"})),
        each_pair(world, "no header goes elsewhere", reach("header", "v2")),
        each_pair(world, "path Echo goes to v1", reach("path", "v1")),
        each_pair(world, "path ForwardEcho is not path Echo", reach("other-path", "v2")),
        *(each_pair(world, f"{what}: v1, or else v2", tell_apart(*match)) for what, (_, *match) in MATCHES.items()),
        each_pair(world, "subset v2 alone", reach("subset", "v2")),
        each_pair(world, "another host as destination", reach("override", "v2")),
        each_pair(world, "nobody behind the Service", nobody),
    ]


def reach(host, version, metadata=None):
    def ask(pod, _, server):
        target = f"xds:///{host}-{server.name}:7070"
        answer = fresh_call(pod, f"match {target}", target, count=CALLS, concurrency=2, metadata=metadata or {})
        all_reach(answer, version)
        return passed(version)

    return ask


def tell_apart(matched, others):
    def ask(pod, _, server):
        target = f"xds:///match-{server.name}:7070"
        reached = []
        for version, metadata in (("v1", matched), ("v2", others)):
            if metadata is not None:
                channel = f"match {target} {metadata}"
                answer = fresh_call(pod, channel, target, count=FEW_CALLS, metadata=metadata)
                all_reach(answer, version)
                reached.append(version)
        return passed("/".join(reached))

    return ask


def nobody(pod, _, server):
    target = f"xds:///empty-{server.name}:7070"
    all_are(fresh_call(pod, f"match {target}", target), "UNAVAILABLE")
    return passed("UNAV")
