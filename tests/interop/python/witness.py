"""A gRPC program on grpcio (C-core) that serves and calls as it is told, one JSON command a line.

The protocol is in tests/interop/README.md. The folder with the code generated from echo.proto is the only argument.
"""

import base64
import concurrent.futures
import json
import platform
import socket
import sys
import threading
import time
from importlib import metadata

sys.path.insert(0, sys.argv[1])

import echo_pb2
import echo_pb2_grpc
import grpc
import grpc.experimental
import grpc_csds
from envoy.admin.v3 import config_dump_shared_pb2
from envoy.service.status.v3 import csds_pb2

MESSAGES_MAX = 5


class Tally:
    """What became of many calls."""

    def __init__(self):
        self._lock = threading.Lock()
        self.codes, self.versions, self.identities, self.errors = {}, {}, {}, []

    def add(self, code, message):
        with self._lock:
            self.codes[code] = self.codes.get(code, 0) + 1
            if code == "OK":
                lines = dict(line.split("=", 1) for line in message.splitlines() if "=" in line)
                for counts, key in ((self.versions, "ServiceVersion"), (self.identities, "PeerIdentity")):
                    if key in lines:
                        counts[lines[key]] = counts.get(lines[key], 0) + 1
            else:
                text = f"{code}: {message}"
                if text not in self.errors and len(self.errors) < MESSAGES_MAX:
                    self.errors.append(text)

    def answer(self):
        with self._lock:
            return {
                "codes": dict(self.codes),
                "versions": dict(self.versions),
                "identities": dict(self.identities),
                "errors": list(self.errors),
            }


class Echo(echo_pb2_grpc.EchoTestServiceServicer):
    def __init__(self, version, hostname):
        self._lines = [f"ServiceVersion={version}", f"Hostname={hostname}"]

    def Echo(self, request, context):
        names = [name.decode() for name in context.auth_context().get("peer_spiffe_id", [])]
        identities = [f"PeerIdentity={name}" for name in names]
        return echo_pb2.EchoResponse(message="".join(f"{line}\n" for line in self._lines + identities))


class Caller:
    """A channel, with the calls that are made on it."""

    def __init__(self, target, credentials):
        if credentials == "xds":
            fallback = grpc.experimental.insecure_channel_credentials()
            self._channel = grpc.secure_channel(target, grpc.xds_channel_credentials(fallback))
        else:
            self._channel = grpc.insecure_channel(target)
        self._stubs = {}
        self._load = None

    def one(self, command, tally):
        method = command.get("method", "/proto.EchoTestService/Echo")
        if method not in self._stubs:
            self._stubs[method] = self._channel.unary_unary(
                method,
                request_serializer=echo_pb2.EchoRequest.SerializeToString,
                response_deserializer=echo_pb2.EchoResponse.FromString,
            )
        try:
            response = self._stubs[method](
                echo_pb2.EchoRequest(message="hello"),
                timeout=command.get("timeout_ms", 5000) / 1000,
                metadata=list(command.get("metadata", {}).items()),
                wait_for_ready=command.get("wait_for_ready", False),
            )
            tally.add("OK", response.message)
        except grpc.RpcError as error:
            tally.add(error.code().name, error.details() or "")

    def many(self, command):
        tally = Tally()
        left = iter(range(command.get("count", 1)))
        qps = command.get("qps")
        begun = time.monotonic()
        lock = threading.Lock()

        def take():
            with lock:
                return next(left, None)

        def work():
            while (index := take()) is not None:
                if qps:
                    time.sleep(max(begun + index / qps - time.monotonic(), 0))
                self.one(command, tally)

        threads = [threading.Thread(target=work) for _ in range(command.get("concurrency", 1))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return tally.answer()

    def start(self, command):
        tally, stop = Tally(), threading.Event()
        interval = command.get("interval_ms", 10) / 1000

        def work():
            due = time.monotonic()
            while not stop.is_set():
                self.one(command, tally)
                due = max(due + interval, time.monotonic())
                stop.wait(due - time.monotonic())

        thread = threading.Thread(target=work)
        thread.start()
        self._load = (tally, stop, thread)

    def stop(self):
        tally, stop, thread = self._load
        self._load = None
        stop.set()
        thread.join()
        return tally.answer()

    def close(self):
        if self._load:
            self.stop()
        self._channel.close()


class Witness:
    def __init__(self):
        self._callers, self._servers = {}, {}
        self._lock = threading.Lock()

    def about(self, _):
        version = metadata.version("grpcio")
        return {"program": "grpcio", "version": version, "runtime": f"Python {platform.python_version()}"}

    def serve(self, command):
        address = command["address"]
        pool = concurrent.futures.ThreadPoolExecutor(max_workers=16)
        server = grpc.server(pool, xds=command.get("xds", True))
        service = Echo(command.get("version", ""), command.get("hostname", ""))
        echo_pb2_grpc.add_EchoTestServiceServicer_to_server(service, server)
        if command.get("xds", True):
            fallback = grpc.insecure_server_credentials()
            server.add_secure_port(address, grpc.xds_server_credentials(fallback))
        else:
            server.add_insecure_port(address)
        server.start()
        self._servers[address] = server
        # grpcio listens only once it has its Listener, and calls nobody back.
        error = accepts(address, command.get("timeout_ms", 10000) / 1000)
        return {"serving": True} if error is None else {"serving": False, "error": error}

    def stop_server(self, command):
        self._servers.pop(command["address"]).stop(grace=0).wait()
        return {}

    def call(self, command):
        if command.get("qps") is not None and command["qps"] < 1:
            raise ValueError(f"qps {command['qps']}: no rate; leave it out for none, or give 1 or more")
        return self._caller(command).many(command)

    def load(self, command):
        self._caller(command).start(command)
        return {"started": True}

    def stop(self, command):
        return self._callers[command["channel"]].stop()

    def close(self, command):
        self._callers.pop(command["channel"]).close()
        return {}

    def csds(self, _):
        servicer = grpc_csds.ClientStatusDiscoveryServiceServicer
        response = servicer.FetchClientStatus(csds_pb2.ClientStatusRequest(), None)
        status = config_dump_shared_pb2.ClientResourceStatus.Name
        resources = [
            {
                "type_url": resource.type_url,
                "name": resource.name,
                "status": status(resource.client_status),
                "version": resource.version_info,
                "config_base64": base64.b64encode(resource.xds_config.value).decode(),
            }
            for config in response.config
            for resource in config.generic_xds_configs
        ]
        return {"resources": resources}

    def _caller(self, command):
        with self._lock:
            name = command["channel"]
            if name not in self._callers:
                self._callers[name] = Caller(command["target"], command.get("credentials", "xds"))
            return self._callers[name]

    def end(self):
        for caller in self._callers.values():
            caller.close()
        for server in self._servers.values():
            server.stop(grace=0)


def accepts(address, bound):
    """Connects until somebody listens; what stood in the way, if that never happens."""
    host, port = address.rsplit(":", 1)
    deadline = time.monotonic() + bound
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
            return None
        except OSError as error:
            if time.monotonic() > deadline:
                return f"nobody listens on {address} after {bound} s: {error}"
            time.sleep(0.02)


def main():
    witness, lock = Witness(), threading.Lock()

    def carry_out(command):
        try:
            answer = getattr(witness, command["op"].replace("-", "_"))(command)
        except Exception as error:  # The harness is told, and decides.
            answer = {"error": f"{type(error).__name__}: {error}"}
        with lock:
            print(json.dumps({"id": command["id"], **answer}), flush=True)

    threads = []
    for line in sys.stdin:
        threads.append(threading.Thread(target=carry_out, args=(json.loads(line),)))
        threads[-1].start()
    witness.end()


main()
