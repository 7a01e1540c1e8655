"""How programs put why a connection failed."""

import re

# What a TLS client says of a server that answers in plain text, or that closes: one that does so with the client's
# first bytes unread may reset the connection before its own are read.
HANDSHAKE = re.compile(
    r"wrong.version.number"
    r"|does not look like a TLS handshake"
    r"|(authentication handshake|Handshake read) failed.*(connection reset by peer|EOF|Socket closed)"
    r"|read ECONNRESET|before secure TLS connection was established",
    re.I,
)
IDENTITY = re.compile(r"\bSANs?\b|subject alt|identit", re.I)
