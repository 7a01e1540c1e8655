"""How programs put why a connection failed."""

import re

# A server that closes with the client's first bytes unread may reset the connection before its own are read.
HANDSHAKE = re.compile(r"wrong.version.number|does not look like a TLS|handshake|InvalidContentType|reset", re.I)
IDENTITY = re.compile(r"\bSANs?\b|subject alt|identit", re.I)
