"""What a client says it has (CSDS) is, byte for byte, what fake-istiod sends a client with the same node."""

import json
import subprocess

from ..install import HERE
from ..manifests import full
from ..mesh import PLAIN, STRICT
from ..pairs import each_program
from ..results import Wrong, all_are, passed

ADS_SECONDS = 90
CLIENT_TYPES = {
    "type.googleapis.com/envoy.config.listener.v3.Listener",
    "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
    "type.googleapis.com/envoy.config.cluster.v3.Cluster",
    "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
}
SERVER_TYPES = {"type.googleapis.com/envoy.config.listener.v3.Listener"}


def run(world):
    def of_client(program):
        pod = world.client(program)
        hosts = [full(space, f"{host}-{server.name}")
                 for server in world.programs for space, host in ((PLAIN, "shift"), (STRICT, "mutual"))]
        try:
            for host in hosts:
                answer = pod.witness.ask("call", channel=f"status {host}", target=f"xds:///{host}:7070", count=1)
                all_are(answer, "OK")
            return compare(world, pod, CLIENT_TYPES)
        finally:
            for host in hosts:
                pod.witness.ask("close", channel=f"status {host}")

    def of_server(program):
        return compare(world, world.pod(STRICT, f"strict-{program.name}"), SERVER_TYPES)

    return [
        each_program(world, "CSDS of a client is what fake-istiod sends", of_client),
        each_program(world, "CSDS of a server is what fake-istiod sends", of_server),
    ]


def compare(world, pod, types):
    told = pod.witness.ask("csds")["resources"]
    problems = [f"{one['name']} is {one['status']}" for one in told if one["status"] != "ACKED"]
    if absent := types - {one["type_url"] for one in told}:
        problems.append(f"nothing of {', '.join(sorted(absent))}")
    names = {}
    for one in told:
        names.setdefault(one["type_url"], set()).add(one["name"])
    (sent,) = ask_istiod(world, {pod: names})
    for one in told:
        expected = sent.get(one["type_url"], {}).get(one["name"])
        if expected is None:
            problems.append(f"{one['name']} is not what fake-istiod has")
        elif one["config_base64"] != expected:
            problems.append(f"{one['name']} differs in its bytes")
    if problems:
        raise Wrong("differs", "; ".join(problems[:5]))
    return passed(f"{len(told)} equal")


def ask_istiod(world, wanted):
    """Resources by type and name as each pod would be sent them, on streams of the harness' own."""
    request = json.dumps([
        {
            "node": json.loads(pod.bootstrap.read_text())["node"],
            "names": {kind: sorted(found) for kind, found in names.items()},
        }
        for pod, names in wanted.items()
    ])
    command = [world.installed.python, "-B", HERE / "harness" / "ads.py", world.istiod.addresses["plaintext"]]
    done = subprocess.run(command, input=request, capture_output=True, text=True, timeout=ADS_SECONDS)
    if done.returncode:
        raise Wrong("no ADS", done.stderr.strip().splitlines()[-1])
    return json.loads(done.stdout)
