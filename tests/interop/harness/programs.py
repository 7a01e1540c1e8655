"""The four programs that bear witness, and how each is started."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Program:
    name: str
    short: str
    about: str
    # Whether its channels take plain addresses, too.
    dials_addresses: bool = True
    # Whether its servers listen on all addresses of the machine, whatever they are told.
    binds_everywhere: bool = False

    # What it is built on, where its name does not tell.
    library: str = ""

    @property
    def way(self):
        """Its name as a way to play the tutorial."""
        return self.library or self.name

    def command(self, installed):
        """The command line of a witness."""
        return installed.witnesses[self.name]


PROGRAMS = (
    Program("grpcio", "py", "gRPC C-core, in Python"),
    Program("grpc-js", "js", "gRPC in JavaScript, on Node", binds_everywhere=True),
    Program("grpc-go", "go", "gRPC in Go, the one Istio's own echo application links"),
    Program("hermesh", "hm", "hermesh-xds", dials_addresses=False, library="hermesh-xds"),
)
