"""Routes chosen by header and path, a subset, and a destination that is another host."""

from ..pairs import each_pair, fresh_call
from ..results import all_reach, passed

CALLS = 40


def run(world):
    return [
        each_pair(world, "header x-test: v1 goes to v1", reach("header", "v1", {"x-test": "v1"})),
        each_pair(world, "header x-test: v10 goes elsewhere", reach("header", "v2", {"x-test": "v10"})),
        each_pair(world, "no header goes elsewhere", reach("header", "v2")),
        each_pair(world, "path Echo goes to v1", reach("path", "v1")),
        each_pair(world, "path ForwardEcho is not path Echo", reach("other-path", "v2")),
        each_pair(world, "subset v2 alone", reach("subset", "v2")),
        each_pair(world, "another host as destination", reach("override", "v2")),
    ]


def reach(host, version, metadata=None):
    def ask(pod, _, server):
        target = f"xds:///{host}-{server.name}:7070"
        answer = fresh_call(pod, f"match {target}", target, count=CALLS, concurrency=2, metadata=metadata or {})
        all_reach(answer, version)
        return passed(version)

    return ask
