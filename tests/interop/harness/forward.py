"""ForwardEcho as grpcurl calls it, from outside the mesh: no xDS, no TLS.

Runs in the environment that has grpcio: `forward.py GENERATED ADDRESS < calls`, where the calls are a list of
ForwardEchoRequests in JSON. Prints a list of `{"output": […]}` or `{"code": "…", "message": "…"}`.
"""

import json
import sys

sys.path.insert(0, sys.argv[1])

import echo_pb2
import echo_pb2_grpc
import grpc
from google.protobuf import json_format

SECONDS = 30


def main():
    answers = []
    for call in json.load(sys.stdin):
        with grpc.insecure_channel(sys.argv[2]) as channel:
            request = json_format.ParseDict(call, echo_pb2.ForwardEchoRequest())
            try:
                response = echo_pb2_grpc.EchoTestServiceStub(channel).ForwardEcho(request, timeout=SECONDS)
                answers.append({"output": list(response.output)})
            except grpc.RpcError as error:
                answers.append({"code": error.code().name, "message": error.details()})
    print(json.dumps(answers))


main()
