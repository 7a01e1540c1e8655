"""Every short form of a Service's name, from a client in the Service's namespace."""

from ..mesh import PLAIN
from ..pairs import each_pair, fresh_call
from ..results import all_are, passed

FORMS = ("{host}:7070", "{host}.{space}:7070", "{host}.{space}.svc:7070", "{host}.{space}.svc.cluster.local:7070")


def run(world):
    return [each_pair(world, f"name: {form.format(host='echo', space=PLAIN)}", dial(form)) for form in FORMS]


def dial(form):
    def ask(pod, _, server):
        target = "xds:///" + form.format(host=f"echo-{server.name}", space=PLAIN)
        answer = fresh_call(pod, f"names {target}", target, count=4)
        all_are(answer, "OK")
        return passed("OK")

    return ask
