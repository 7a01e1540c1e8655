"""What a server speaks on its port, and what its Listener says it should."""

import base64
import socket
import ssl

from ..pod import DATA

CONNECT_SECONDS = 5
SERVER_TLS = b"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"


def wants_tls(listener):
    """Whether a Listener, in base64, has a TLS context for its connections."""
    return SERVER_TLS in base64.b64decode(listener)


def speaks_tls(pod, port):
    """Whether the server completes a TLS handshake with a client that has the pod's own certificate; `None` if nobody
    listens."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(pod.file(f"{DATA}/root-cert.pem"))
    context.load_cert_chain(pod.file(f"{DATA}/cert-chain.pem"), pod.file(f"{DATA}/key.pem"))
    context.set_alpn_protocols(["h2"])
    try:
        plain = socket.create_connection((pod.address, port), CONNECT_SECONDS)
    except OSError:
        return None
    with plain:
        try:
            with context.wrap_socket(plain):
                return True
        except (ssl.SSLError, ConnectionError, TimeoutError):
            return False
