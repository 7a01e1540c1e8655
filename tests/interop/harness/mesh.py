"""What the world is made of: pods and Services in four groups, each for every program.

Services that need rules have them from the start, under names of their own, so that no case waits for another one's
configuration. What changes while the run goes on is in `moving` and `live`.
"""

from dataclasses import dataclass, field

from .manifests import (
    GRPC_PORT, destination_rule, endpoint_slice, namespace, peer_authentication, pod, route, service, service_account,
    virtual_service,
)

PLAIN, STRICT, LIVE, MULTI = "echo-grpc", "echo-strict", "echo-live", "echo-multi"
GROUPS = (PLAIN, STRICT, LIVE, MULTI)
PORT, SECOND_PORT, LATE_PORT = "grpc", "grpc-second", "grpc-late"
ECHO = "/proto.EchoTestService/Echo"
FORWARD_ECHO = "/proto.EchoTestService/ForwardEcho"
# What a route can match, with metadata that it matches and metadata that it does not; `by` keeps the routes apart.
MATCHES = {
    "header prefix": ({"headers": {"by": {"prefix": "pre"}}}, {"by": "prefix"}, {"by": "no-prefix"}),
    "header regex": ({"headers": {"by": {"regex": "re[a-z]+"}}}, {"by": "regex"}, {"by": "regex1"}),
    "header present": ({"headers": {"x-present": {}}}, {"x-present": "1"}, {}),
    "header absent": (
        {"headers": {"by": {"exact": "absent"}}, "withoutHeaders": {"x-absent": {}}},
        {"by": "absent"},
        {"by": "absent", "x-absent": "1"},
    ),
    "path prefix": (
        {"uri": {"prefix": "/proto.Echo"}, "headers": {"by": {"exact": "path-prefix"}}}, {"by": "path-prefix"}, {},
    ),
    "path regex": (
        {"uri": {"regex": "/proto[.].*/Echo"}, "headers": {"by": {"exact": "path-regex"}}}, {"by": "path-regex"}, {},
    ),
    "path, any case": (
        {"uri": {"exact": ECHO.lower()}, "ignoreUriCase": True, "headers": {"by": {"exact": "case"}}},
        {"by": "case"},
        {},
    ),
    "path, wrong case": (
        {"uri": {"exact": ECHO.lower()}, "headers": {"by": {"exact": "wrong-case"}}}, None, {"by": "wrong-case"},
    ),
}
# How long certificates are good for where they are rotated under load; the agent renews at half of it.
CERTIFICATE_SECONDS = 20


@dataclass(frozen=True)
class Spec:
    """A pod as it is wanted."""

    namespace: str
    name: str
    program: object
    labels: dict
    # The version told on each port that is served, by the port's name.
    serves: dict
    # The same for a port that is served later.
    late: dict = field(default_factory=dict)
    # The life of its certificates in seconds, if they are rotated often.
    rotates: int = 0
    # Numbers of ports that are not for the harness to choose, by name.
    ports: dict = field(default_factory=dict)
    # The arguments of the agent, if they are not the usual ones.
    arguments: tuple = ()
    service_account: str = ""

    @property
    def account(self):
        return self.service_account or self.name


def specs(programs, groups):
    """The pods of the groups."""
    for program in programs:
        name = program.name
        if PLAIN in groups:
            yield Spec(PLAIN, f"client-{name}", program, {"app": f"client-{name}"}, {})
            for version in ("v1", "v2"):
                labels = {"app": f"echo-{name}", "version": version}
                yield Spec(PLAIN, f"echo-{name}-{version}", program, labels, {PORT: version})
        if STRICT in groups:
            yield Spec(STRICT, f"strict-{name}", program, {"app": f"strict-{name}"}, {PORT: "v1"})
        if LIVE in groups:
            labels = {"app": f"live-{name}"}
            yield Spec(LIVE, f"live-{name}", program, labels, {PORT: "v1"}, late={LATE_PORT: "late"})
        if MULTI in groups:
            serves = {PORT: "first", SECOND_PORT: "second"}
            labels = {"app": f"multi-{name}"}
            yield Spec(MULTI, f"multi-{name}", program, labels, serves, rotates=CERTIFICATE_SECONDS)


class Mesh:
    """The objects, given the pods."""

    def __init__(self, pods, programs, groups):
        self._pods, self._programs, self._groups = pods, programs, groups

    def base(self):
        """All that stays as it is."""
        objects = [namespace(group) for group in self._groups]
        for one in self._pods:
            spec = one.spec
            objects.append(service_account(spec.namespace, spec.account))
            objects.append(pod(spec.namespace, spec.name, spec.account, spec.labels, one.ports))
        for program in self._programs:
            for group, services in ((PLAIN, plain), (STRICT, strict), (LIVE, live_services), (MULTI, multi)):
                if group in self._groups:
                    objects += services(self, program.name)
        if STRICT in self._groups:
            objects.append(peer_authentication(STRICT, "STRICT"))
        if MULTI in self._groups:
            objects.append(peer_authentication(MULTI, "STRICT"))
        return objects

    def moving(self, weights=None, subsets=True, versions=("v1", "v2")):
        """`move-*`: weights for v1 and v2 or no VirtualService, subsets or no DestinationRule, endpoints of some
        versions."""
        objects = []
        for program in self._programs:
            host, app = f"move-{program.name}", {"app": f"echo-{program.name}"}
            found = [one for one in self.select(PLAIN, app) if one.spec.labels["version"] in versions]
            objects += self._service(PLAIN, host, app, found)
            if subsets:
                objects.append(destination_rule(PLAIN, host, subsets=("v1", "v2")))
            if weights:
                first, second = weights
                objects.append(virtual_service(PLAIN, host, [route([(host, "v1", first), (host, "v2", second)])]))
        return objects

    def live(self, mutual):
        """The policies of `live-*`: mTLS at both ends, or none."""
        if not mutual:
            return []
        rules = [destination_rule(LIVE, f"live-{program.name}", tls="ISTIO_MUTUAL") for program in self._programs]
        return [peer_authentication(LIVE, "STRICT"), *rules]

    def late(self):
        """`late-*`: Services for ports that were served before."""
        ports, objects = {GRPC_PORT: LATE_PORT}, []
        for program in self._programs:
            objects += self.select_service(LIVE, f"late-{program.name}", {"app": f"live-{program.name}"}, ports)
        return objects

    def select(self, group, selector):
        return [
            one for one in self._pods
            if one.namespace == group and all(one.spec.labels.get(key) == value for key, value in selector.items())
        ]

    def select_service(self, group, host, selector, ports=None):
        """A Service with the endpoints its selector finds; no controller does that here."""
        return self._service(group, host, selector, self.select(group, selector), ports)

    @staticmethod
    def _service(group, host, selector, found, ports=None):
        ports = ports or {GRPC_PORT: PORT}
        slices = [endpoint_slice(group, host, numbers(ports, one), one.address, one.name) for one in found]
        return [service(group, host, selector, ports), *slices]


def numbers(ports, one):
    """The numbers that a Service's ports have in a pod."""
    return {port: one.ports[name] for port, name in ports.items()}


def plain(mesh, name):
    app = {"app": f"echo-{name}"}
    objects = []
    for host in ("echo", "shift", "header", "path", "other-path", "match", "subset", "tls"):
        objects += mesh.select_service(PLAIN, f"{host}-{name}", app)
    objects += mesh.select_service(PLAIN, f"override-{name}", {**app, "version": "v1"})
    objects += mesh.select_service(PLAIN, f"overriding-{name}", {**app, "version": "v2"})
    objects += mesh.select_service(PLAIN, f"empty-{name}", {"app": f"nobody-{name}"})
    for host in ("shift", "header", "path", "other-path", "match", "subset"):
        objects.append(destination_rule(PLAIN, f"{host}-{name}", subsets=("v1", "v2")))
    objects.append(destination_rule(PLAIN, f"tls-{name}", tls="ISTIO_MUTUAL"))

    def rules(host, routes):
        objects.append(virtual_service(PLAIN, f"{host}-{name}", routes))

    def to(host, subset, match=None):
        return route([(f"{host}-{name}", subset, None)], match)

    rules("shift", [route([(f"shift-{name}", "v1", 20), (f"shift-{name}", "v2", 80)])])
    rules("header", [to("header", "v1", {"headers": {"x-test": {"exact": "v1"}}}), to("header", "v2")])
    rules("path", [to("path", "v1", {"uri": {"exact": ECHO}}), to("path", "v2")])
    rules("other-path", [to("other-path", "v1", {"uri": {"exact": FORWARD_ECHO}}), to("other-path", "v2")])
    rules("match", [*(to("match", "v1", match) for match, _, _ in MATCHES.values()), to("match", "v2")])
    rules("subset", [to("subset", "v2")])
    rules("override", [route([(f"overriding-{name}", None, None)])])
    return objects


def strict(mesh, name):
    app = {"app": f"strict-{name}"}
    objects = []
    for host in ("strict", "mutual"):
        objects += mesh.select_service(STRICT, f"{host}-{name}", app)
    objects.append(destination_rule(STRICT, f"mutual-{name}", tls="ISTIO_MUTUAL"))
    # Behind the address is one pod, and the slice says that it is another: clients expect the latter's identity.
    impostor, ports = f"impostor-{name}", {GRPC_PORT: PORT}
    objects += [
        service_account(STRICT, impostor),
        service(STRICT, impostor, {"app": impostor}, ports),
        destination_rule(STRICT, impostor, tls="ISTIO_MUTUAL"),
    ]
    for one in mesh.select(STRICT, app):
        objects.append(pod(STRICT, impostor, impostor, {"app": impostor}, one.ports))
        objects.append(endpoint_slice(STRICT, impostor, numbers(ports, one), one.address, impostor))
    return objects


def live_services(mesh, name):
    return mesh.select_service(LIVE, f"live-{name}", {"app": f"live-{name}"})


def multi(mesh, name):
    ports = {GRPC_PORT: PORT, GRPC_PORT + 1: SECOND_PORT}
    found = mesh.select_service(MULTI, f"multi-{name}", {"app": f"multi-{name}"}, ports)
    return [*found, destination_rule(MULTI, f"multi-{name}", tls="ISTIO_MUTUAL")]
