"""ADS streams of state-of-the-world: each asks for resources by type and name; prints what came, as JSON.

Runs in the environment that has grpcio and xds-protos: `ads.py ADDRESS < requests`, where the requests are a list of
`{"node": {…}, "names": {TYPE_URL: [NAME, …]}}` and the answers one of `{TYPE_URL: {NAME: BASE64, …}}`.
"""

import base64
import json
import queue
import sys

import grpc
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from envoy.service.discovery.v3 import ads_pb2_grpc, discovery_pb2
from google.protobuf import json_format

SECONDS = 60
MESSAGES = (
    listener_pb2.Listener, route_pb2.RouteConfiguration, cluster_pb2.Cluster, endpoint_pb2.ClusterLoadAssignment,
)
TYPES = {f"type.googleapis.com/{message.DESCRIPTOR.full_name}": message for message in MESSAGES}


def main():
    with grpc.insecure_channel(sys.argv[1]) as channel:
        stub = ads_pb2_grpc.AggregatedDiscoveryServiceStub(channel)
        print(json.dumps([answer(stub, asked) for asked in json.load(sys.stdin)]))


def answer(stub, asked):
    requests, found = queue.SimpleQueue(), {}
    responses = stub.StreamAggregatedResources(iter(requests.get, None), timeout=SECONDS)
    node = json_format.ParseDict(asked["node"], discovery_pb2.DiscoveryRequest().node, ignore_unknown_fields=True)
    for type_url, names in asked["names"].items():
        wanted = discovery_pb2.DiscoveryRequest(node=node, type_url=type_url, resource_names=sorted(names))
        requests.put(wanted)
        response = next(one for one in responses if one.type_url == type_url)
        wanted.version_info, wanted.response_nonce = response.version_info, response.nonce
        requests.put(wanted)
        found[type_url] = {name(one): base64.b64encode(one.value).decode() for one in response.resources}
    requests.put(None)
    return found


def name(resource):
    parsed = TYPES[resource.type_url].FromString(resource.value)
    return parsed.name if hasattr(parsed, "name") else parsed.cluster_name


main()
