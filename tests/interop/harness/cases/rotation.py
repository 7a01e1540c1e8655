"""Certificates are renewed while calls go on, until the ones of the beginning have expired."""

import socket
import ssl
import time

from ..loads import Loads
from ..manifests import full
from ..mesh import CERTIFICATE_SECONDS, MULTI, PORT
from ..pairs import attempt, each_pair, fresh_call
from ..pod import DATA
from ..results import PROGRAMS, Row, all_from, passed
from ..waiting import Missing, until

INTERVAL_MS = 150
CONNECT_SECONDS = 5
CALLS = 3


def begin(world):
    """Starts the calls, and notes which certificates are served."""
    pods = pods_of(world)
    callers = {(client.name, server.name): pods[client] for client in world.programs for server in world.programs}
    certificates = {program: served(world, program) for program in world.programs}
    loads = Loads(callers, "rotation", target, interval_ms=INTERVAL_MS)
    loads.__enter__()
    return loads, certificates


def run(world, begun):
    loads, certificates = begun
    pods = pods_of(world)

    def renewed(program):
        serial, ends = certificates[program]
        if ends > time.time():
            return Missing("the first certificate is still valid")
        now, _ = served(world, program)
        return Missing("the first certificate is still served") if now == serial else True

    def ask(program):
        bound = 2 * CERTIFICATE_SECONDS
        until(f"{program.name} serves a new certificate", bound, lambda: renewed(program))
        return passed("renewed")

    row = Row("certificate served after the first expired", table=PROGRAMS)
    row.cells = {program.name: attempt(ask, program) for program in world.programs}
    loads.stop()
    fresh = each_pair(world, "new connections after it", lambda _, client, server: connect(pods[client], server))
    meanwhile = each_pair(world, "calls under rotation", lambda _, c, s: loads.unharmed((c.name, s.name)))
    return [fresh, meanwhile, row]


def connect(pod, server):
    answer = fresh_call(pod, f"rotated {server.name}", target(server.name), count=CALLS)
    all_from(answer, pod.identity)
    return passed("OK*")


def pods_of(world):
    return {program: world.pod(MULTI, f"multi-{program.name}") for program in world.programs}


def target(server):
    return f"xds:///{full(MULTI, f'multi-{server}')}:7070"


def served(world, program):
    """Serial number and end of the certificate that a program's server shows, to a client of the mesh."""
    pod = world.pod(MULTI, f"multi-{program.name}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(pod.file(f"{DATA}/root-cert.pem"))
    context.load_cert_chain(pod.file(f"{DATA}/cert-chain.pem"), pod.file(f"{DATA}/key.pem"))
    context.set_alpn_protocols(["h2"])
    with socket.create_connection((pod.address, pod.ports[PORT]), CONNECT_SECONDS) as plain:
        with context.wrap_socket(plain) as encrypted:
            certificate = encrypted.getpeercert()
    return certificate["serialNumber"], ssl.cert_time_to_seconds(certificate["notAfter"])
