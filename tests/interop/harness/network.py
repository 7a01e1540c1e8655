"""Free addresses and ports on loopback."""

import random
import socket

# Below the range from which systems take the ports of outgoing connections.
PORTS = range(20000, 30000)
ATTEMPTS = 200


class Loopback:
    """Gives every pod an address of its own in 127.0.0.0/8, and out ports nobody listens on."""

    def __init__(self):
        self._subnet = f"127.{random.randint(16, 250)}.{random.randint(0, 250)}"
        self._next = 1
        self._ports = set()

    def address(self):
        self._next += 1
        return f"{self._subnet}.{self._next}"

    def port(self):
        for port in random.sample(PORTS, ATTEMPTS):
            if port not in self._ports and is_free(port):
                self._ports.add(port)
                return port
        raise OSError(f"no free port found in {PORTS}")


def is_free(port, address="0.0.0.0"):
    with socket.socket() as probe:
        try:
            probe.bind((address, port))
            return True
        except OSError:
            return False
