"""Kubernetes' and Istio's objects, and their YAML."""

import json

GRPC_PORT = 7070


def namespace(name):
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def service_account(space, name):
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": space}}


def pod(space, name, account, labels, ports):
    """`ports` maps names to numbers."""
    named = [{"name": port, "containerPort": number} for port, number in ports.items()]
    container = {"name": "app", "image": "witness", "ports": named}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": space, "labels": labels},
        "spec": {"serviceAccountName": account, "containers": [container]},
    }


def service(space, name, selector, ports):
    """`ports` maps the Service's ports to the names of the pods'."""
    entries = [{"name": f"grpc-{port}", "port": port, "targetPort": target} for port, target in ports.items()]
    spec = {"ports": entries}
    if selector:
        spec["selector"] = selector
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": space}, "spec": spec}


def endpoint_slice(space, service_name, ports, address, behind):
    """A slice with one endpoint, since named ports have other numbers in every pod. `ports` maps the Service's ports,
    or their names, to numbers; `behind` names the pod."""
    names = {port: port if isinstance(port, str) else f"grpc-{port}" for port in ports}
    labels = {"kubernetes.io/service-name": service_name}
    endpoint = {
        "addresses": [address],
        "conditions": {"ready": True},
        "targetRef": {"kind": "Pod", "name": behind, "namespace": space},
    }
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{service_name}-{behind}", "namespace": space, "labels": labels},
        "addressType": "IPv4",
        "ports": [{"name": names[port], "port": number, "protocol": "TCP"} for port, number in ports.items()],
        "endpoints": [endpoint],
    }


def destination_rule(space, host, tls=None, subsets=()):
    spec = {"host": full(space, host)}
    if tls:
        spec["trafficPolicy"] = {"tls": {"mode": tls}}
    if subsets:
        spec["subsets"] = [{"name": name, "labels": {"version": name}} for name in subsets]
    return istio("networking.istio.io/v1", "DestinationRule", space, host, spec)


def virtual_service(space, host, routes):
    spec = {"hosts": [full(space, host)], "http": routes}
    return istio("networking.istio.io/v1", "VirtualService", space, host, spec)


def peer_authentication(space, mode, name="default", selector=None):
    spec = {"mtls": {"mode": mode}}
    if selector:
        spec["selector"] = {"matchLabels": selector}
    return istio("security.istio.io/v1", "PeerAuthentication", space, name, spec)


def route(destinations, match=None):
    """`destinations` are (host, subset or None, weight or None)."""
    entry = {"route": [destination(*one) for one in destinations]}
    if match:
        entry["match"] = [match]
    return entry


def destination(host, subset=None, weight=None):
    entry = {"destination": {"host": host}}
    if subset:
        entry["destination"]["subset"] = subset
    if weight is not None:
        entry["weight"] = weight
    return entry


def istio(version, kind, space, name, spec):
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": space}, "spec": spec}


def full(space, host):
    return f"{host}.{space}.svc.cluster.local"


def documents(objects):
    """One YAML document for each object."""
    return "".join("---\n" + "".join(f"{line}\n" for line in lines(thing)) for thing in objects)


def lines(value):
    """Block YAML for mappings and lists, JSON for the rest."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from under(f"{key if is_plain(key) else json.dumps(key)}:", inner)
    elif isinstance(value, list) and value:
        for inner in value:
            first, *rest = lines(inner)
            yield f"- {first}"
            yield from (f"  {line}" for line in rest)
    else:
        yield json.dumps(value)


def under(head, value):
    if isinstance(value, (dict, list)) and value:
        yield head
        yield from (f"  {line}" for line in lines(value))
    else:
        yield f"{head} {json.dumps(value)}"


def is_plain(key):
    return all(c.isalnum() or c in "-_./" for c in key)
