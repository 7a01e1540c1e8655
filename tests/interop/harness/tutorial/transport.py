"""What a server speaks on its port, and what its Listener says it should."""

import base64
import socket
import ssl

from ..pod import DATA
from ..waiting import Missing

CONNECT_SECONDS = 5
SERVER_TLS = b"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
TLS, PLAIN = SPOKEN = "TLS", "plain text"
# How HTTP/2 begins: a client's preface with its empty SETTINGS, and SETTINGS of the server's own (RFC 9113, 3.4).
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
FRAME_HEAD, SETTINGS = 9, 4


def told(listener):
    """What a server with this Listener, in base64, is to speak: TLS if it has a TLS context for its connections."""
    return TLS if SERVER_TLS in base64.b64decode(listener) else PLAIN


def spoken(pod, port):
    """What the server has just proved to speak, or why nobody can tell: nobody may listen, or answer in time."""
    try:
        if shakes_hands(pod, port):
            return TLS
        if begins_http2(pod, port):
            return PLAIN
    except OSError as error:
        return Missing(f"port {port}: {error}")
    return Missing(f"port {port}: it speaks neither TLS nor plain HTTP/2")


def shakes_hands(pod, port):
    """Whether the server completes a TLS handshake with a client that has the pod's own certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(pod.file(f"{DATA}/root-cert.pem"))
    context.load_cert_chain(pod.file(f"{DATA}/cert-chain.pem"), pod.file(f"{DATA}/key.pem"))
    context.set_alpn_protocols(["h2"])
    with socket.create_connection((pod.address, port), CONNECT_SECONDS) as plain:
        try:
            with context.wrap_socket(plain):
                return True
        except (ssl.SSLError, ConnectionError):
            return False


def begins_http2(pod, port):
    """Whether the server answers plain HTTP/2 with plain HTTP/2."""
    with socket.create_connection((pod.address, port), CONNECT_SECONDS) as plain:
        try:
            plain.sendall(PREFACE)
            head = plain.recv(FRAME_HEAD, socket.MSG_WAITALL)
        except ConnectionError:
            return False
    return len(head) == FRAME_HEAD and head[3] == SETTINGS
