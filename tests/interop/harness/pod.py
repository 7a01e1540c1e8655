"""A pod on this machine: an address, a folder that stands for /, an agent, and the program beside it."""

import json
import os
import urllib.error
import urllib.request

from .waiting import Missing, until
from .witness import Witness

READY_SECONDS = 60
LOOK_SECONDS = 2
DATA = "/var/lib/istio/data"
BOOTSTRAP = "/etc/istio/proxy/grpc-bootstrap.json"
# What `file_watcher` is told to wait between two looks, where a case cannot wait for the agent's 900 s.
REFRESH = "1s"


def logging():
    """How our programs log; HERMESH_LOG chooses how much, as everywhere."""
    return {"HERMESH_LOG_FORMAT": "json", "HERMESH_LOG": os.environ.get("HERMESH_LOG", "info")}


class Pod:
    def __init__(self, spec, loopback, folder, prefix=""):
        self.spec, self.address = spec, loopback.address()
        # No two pods share a number: grpc-js binds all addresses whatever it is told.
        self.ports = {name: spec.ports.get(name) or loopback.port() for name in (*spec.serves, *spec.late)}
        self.name, self.namespace, self.program = spec.name, spec.namespace, spec.program
        self.id = f"{prefix}{spec.namespace}.{spec.name}"
        # Short: it is the beginning of the paths of sockets.
        self.root = folder / f"{spec.namespace}.{spec.name}"
        self._status_port = loopback.port()
        self._agent_command = None
        self.agent = self.witness = None

    @property
    def identity(self):
        return f"spiffe://cluster.local/ns/{self.namespace}/sa/{self.spec.account}"

    @property
    def node_id(self):
        return f"sidecar~{self.address}~{self.name}.{self.namespace}~{self.namespace}.svc.cluster.local"

    @property
    def bootstrap(self):
        """The bootstrap the program reads: the agent's, unless certificates must be looked at more often."""
        return self.file("/application-bootstrap.json" if self.spec.rotates else BOOTSTRAP)

    def file(self, path):
        return self.root / path.lstrip("/")

    def start_agent(self, installed, istiod, children):
        if self.agent is None:
            self._mount("/var/run/secrets/tokens/istio-token", istiod.token(self.namespace, self.spec.account))
            self._mount("/var/run/secrets/istio/root-cert.pem", istiod.root())
            labels = "".join(f"{key}={json.dumps(value)}\n" for key, value in self.spec.labels.items())
            self._mount("/etc/istio/pod/labels", labels.encode())
            self._mount("/etc/istio/pod/annotations", b"")
            # A volume, in a cluster.
            self.file(DATA).mkdir(parents=True)
        usual = ("proxy", "sidecar", "--domain", f"{self.namespace}.svc.cluster.local")
        command = [installed.agent, *(self.spec.arguments or usual)]
        self.agent = children.start(f"{self.id}.agent", command, self._agent_environment(istiod))

    def await_agent(self):
        def condition():
            if not self.agent.is_running():
                raise RuntimeError(self.agent.ending())
            return self.agent_readiness()

        until(f"the agent of {self.id} is ready", READY_SECONDS, condition)

    def agent_readiness(self):
        """Whether the agent's probe succeeds, or why not."""
        try:
            url = f"http://127.0.0.1:{self._status_port}/healthz/ready"
            with urllib.request.urlopen(url, timeout=LOOK_SECONDS) as response:
                return response.status == 200
        except urllib.error.HTTPError as error:
            return Missing(f"{error.code} {error.read().decode(errors='replace').strip()}")
        except OSError as error:
            return Missing(str(error))

    def start_program(self, installed, children):
        if self.spec.rotates:
            bootstrap = json.loads(self.file(BOOTSTRAP).read_text())
            bootstrap["certificate_providers"]["default"]["config"]["refresh_interval"] = REFRESH
            self.bootstrap.write_text(json.dumps(bootstrap, indent=2))
        command = self.program.command(installed)
        child = children.start(f"{self.id}.{self.program.name}", command, self.environment(), pipes=True)
        self.witness = Witness(self.program, child)

    def environment(self):
        """What the manifests and the injection template give the application's container."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.root),
            "INSTANCE_IP": self.address,
            "GRPC_XDS_BOOTSTRAP": str(self.bootstrap),
            "GRPC_XDS_EXPERIMENTAL_SECURITY_SUPPORT": "true",
            **logging(),
        }

    def serve(self):
        """Tells the program to serve on all ports of the pod; `await_serving` waits until it does."""
        return [
            self.witness.send("serve", address=f"{self.address}:{self.ports[port]}", xds=True, version=version,
                              hostname=self.name, timeout_ms=READY_SECONDS * 1000)
            for port, version in self.spec.serves.items()
        ]

    def await_serving(self, boxes):
        for box in boxes:
            answer = self.witness.answer(box, "serve", READY_SECONDS + 5)
            if not answer["serving"]:
                raise RuntimeError(f"{self.id} does not serve: {answer['error']}; it logs to {self.witness.child.log}")

    def _agent_environment(self, istiod):
        """What the injection template gives the container `istio-proxy`."""
        environment = {
            "PATH": os.environ["PATH"],
            "HERMESH_ROOT": str(self.root),
            **logging(),
            "HERMESH_PROFILE": os.environ.get("HERMESH_PROFILE", "hermesh"),
            "ISTIO_META_GENERATOR": "grpc",
            "OUTPUT_CERTS": DATA,
            "PILOT_CERT_PROVIDER": "istiod",
            "ISTIOD_SAN": "istiod.istio-system.svc",
            "POD_NAME": self.name,
            "POD_NAMESPACE": self.namespace,
            "INSTANCE_IP": self.address,
            "SERVICE_ACCOUNT": self.spec.account,
            "HOST_IP": "127.0.0.1",
            "GRPC_XDS_BOOTSTRAP": BOOTSTRAP,
            "PROXY_CONFIG": json.dumps({
                "discoveryAddress": istiod.addresses["tls"],
                "statusPort": self._status_port,
            }),
            "ISTIO_META_APP_CONTAINERS": "app",
            "ISTIO_META_CLUSTER_ID": "Kubernetes",
            "ISTIO_META_WORKLOAD_NAME": self.name,
            "ISTIO_META_MESH_ID": "cluster.local",
            "TRUST_DOMAIN": "cluster.local",
            "ISTIO_META_DNS_CAPTURE": "false",
            "DISABLE_ENVOY": "true",
        }
        if self.spec.rotates:
            environment["SECRET_TTL"] = f"{self.spec.rotates}s"
        return environment

    def _mount(self, path, contents):
        file = self.file(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(contents)
