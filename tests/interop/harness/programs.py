"""The four programs that bear witness, and how each is started."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Program:
    name: str
    short: str
    about: str
    # Whether its channels take plain addresses, too.
    dials_addresses: bool = True

    def command(self, installed):
        """The command line of a witness."""
        return installed.witnesses[self.name]


PROGRAMS = (
    Program("grpcio", "py", "gRPC C-core, in Python"),
    Program("grpc-js", "js", "gRPC in JavaScript, on Node"),
    Program("grpc-go", "go", "gRPC in Go, the one Istio's own echo application links"),
    Program("hermesh", "hm", "hermesh-xds", dials_addresses=False),
)
