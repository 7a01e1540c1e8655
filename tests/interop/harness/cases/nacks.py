"""Nobody has refused a resource, from the beginning to the end."""

from ..pairs import each_program
from ..results import Wrong, passed


def run(world):
    programs = {pod.node_id: pod.program for pod in world.pods}

    def of(program, kind):
        events = world.istiod.events(kind)
        return [event["fields"] for event in events if programs.get(event["fields"]["node"]) == program]

    def judge(program):
        if refusals := of(program, "xds.nacked"):
            raise Wrong(f"{len(refusals)} NACKs", str(refusals[0]))
        pushes = len(of(program, "xds.push"))
        if not pushes:
            raise Wrong("nothing sent", "fake-istiod's log tells of no response to this program")
        return passed(f"0 of {pushes}")

    return [each_program(world, "responses refused (NACK)", judge)]
