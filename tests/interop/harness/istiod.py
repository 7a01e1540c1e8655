"""A fake-istiod: its process, the folder of objects it follows, and what it tells of its clients."""

import json
import os
import subprocess
import urllib.error
import urllib.request

from .manifests import documents
from .waiting import Missing, until

START_SECONDS = 10
TOKEN_SECONDS = 10
LOOK_SECONDS = 5


class Istiod:
    def __init__(self, binary, folder, children):
        self._binary, self._children = binary, children
        self._objects, self._state = folder / "objects", folder / "state"
        self._addresses_file = folder / "addresses.json"
        self._log = children.logs / "fake-istiod.log"
        self._child = None
        self.addresses = {"plaintext": "127.0.0.1:0", "tls": "127.0.0.1:0", "monitoring": "127.0.0.1:0"}
        self._objects.mkdir()

    def start(self):
        """Starts it: on free ports, or where it was before."""
        self._addresses_file.unlink(missing_ok=True)
        command = [self._binary, "--state", self._state]
        for port, address in self.addresses.items():
            command += [f"--{port}", address]
        command += ["--readiness", "off", "--addresses", self._addresses_file, "--log-format", "json", self._objects]
        self._child = self._children.start("fake-istiod", command, {"PATH": os.environ["PATH"]})
        until("fake-istiod listens", START_SECONDS, self._listens)

    def kill(self):
        self._child.kill()

    def root(self):
        """The root certificate that everybody trusts."""
        return (self._state / "root-cert.pem").read_bytes()

    def token(self, namespace, account):
        command = [self._binary, "token", "--state", self._state, "--namespace", namespace]
        command += ["--service-account", account]
        return subprocess.run(command, check=True, capture_output=True, timeout=TOKEN_SECONDS).stdout.strip()

    def write(self, name, objects):
        """Replaces the file's objects, all at once."""
        text = documents(objects) or "# Nothing for now.\n"
        new = self._objects.parent / f"{name}.new"
        new.write_text(text)
        new.rename(self._objects / f"{name}.yaml")

    def apply(self, name, objects, bound=15):
        """Replaces the file's objects, and waits until every client has taken what follows from them."""
        before = len(self.events("istiod.push.finished"))
        self.write(name, objects)
        until(f"fake-istiod pushes {name}", bound, lambda: len(self.events("istiod.push.finished")) > before)
        self.settle(bound)

    def settle(self, bound=15, streams=None):
        """Waits until every client has acknowledged what it was sent, on at least as many streams as given."""
        def condition():
            status = self.syncz()
            if streams and (lacking := missing_streams(streams, status)):
                return Missing(f"no streams yet of {lacking}")
            late = [
                f"{stream['proxy']} {kind['type'].rsplit('.', 1)[-1]} {kind['status']} {kind['error'] or ''}".strip()
                for stream in status
                for kind in stream["types"]
                if kind["status"] != "SYNCED"
            ]
            return Missing("; ".join(late)) if late else True

        until("every client is in sync", bound, condition)

    def syncz(self):
        try:
            url = f"http://{self.addresses['monitoring']}/debug/syncz"
            with urllib.request.urlopen(url, timeout=LOOK_SECONDS) as response:
                return json.load(response)
        except (OSError, urllib.error.URLError):
            return []

    def streams(self):
        """How many streams each proxy has open."""
        counts = {}
        for stream in self.syncz():
            counts[stream["proxy"]] = counts.get(stream["proxy"], 0) + 1
        return counts

    def events(self, kind):
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        events = (json.loads(line) for line in lines if line.startswith("{") and f'"{kind}"' in line)
        return [event for event in events if event["kind"] == kind]

    def _listens(self):
        if not self._child.is_running():
            raise RuntimeError(self._child.ending())
        if not self._addresses_file.exists():
            return False
        told = json.loads(self._addresses_file.read_text())
        self.addresses = {port: told[port] for port in self.addresses}
        return True


def missing_streams(wanted, status):
    have = {}
    for stream in status:
        have[stream["proxy"]] = have.get(stream["proxy"], 0) + 1
    return ", ".join(proxy for proxy, count in wanted.items() if have.get(proxy, 0) < count)
