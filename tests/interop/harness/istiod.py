"""A fake-istiod: its process, the folder of objects it follows, and what it tells of its clients."""

import json
import os
import subprocess
import urllib.request
from collections import Counter
from http.client import HTTPException

from .manifests import documents
from .processes import whole_lines
from .results import Wrong
from .waiting import Missing, until

START_SECONDS = 60
TOKEN_SECONDS = 60
LOOK_SECONDS = 5


class Istiod:
    def __init__(self, binary, folder, children, name="fake-istiod"):
        self._binary, self._children, self._name = binary, children, name
        self._objects, self._state = folder / "objects", folder / "state"
        self._addresses_file = folder / "addresses.json"
        self._log = children.logs / f"{name}.log"
        self._child = None
        # How many streams each proxy has at least, by its name, whenever all clients are in sync.
        self.expects = dict
        self.addresses = {"plaintext": "127.0.0.1:0", "tls": "127.0.0.1:0", "monitoring": "127.0.0.1:0"}
        self._objects.mkdir()

    def start(self):
        """Starts it: on free ports, or where it was before."""
        self._addresses_file.unlink(missing_ok=True)
        command = [self._binary, "--state", self._state]
        for port, address in self.addresses.items():
            command += [f"--{port}", address]
        command += ["--readiness", "off", "--addresses", self._addresses_file, "--log-format", "json", self._objects]
        self._child = self._children.start(self._name, command, {"PATH": os.environ["PATH"]})
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
        self.place(f"{name}.yaml", documents(objects) or "# Nothing for now.\n")

    def place(self, file, text):
        """Puts a file into the folder, or replaces it, all at once."""
        new = self._objects.parent / f"{file}.new"
        new.write_text(text)
        new.rename(self._objects / file)

    def apply(self, name, objects, bound=15):
        """Replaces the file's objects, and waits until every client has taken what follows from them."""
        before = len(self.events("istiod.push.finished"))
        self.write(name, objects)
        until(f"fake-istiod pushes {name}", bound, lambda: len(self.events("istiod.push.finished")) > before)
        self.settle(bound)

    def settle(self, bound=15, streams=None):
        """Waits until every client has acknowledged what it was sent, on at least as many streams as given, and as
        are expected anyway."""
        def condition():
            status = self.syncz()
            if isinstance(status, Missing):
                return status
            if lacking := missing_streams({**self.expects(), **(streams or {})}, status):
                return Missing(f"no streams yet of {lacking}")
            late = [
                f"{stream['proxy']} {kind['type'].rsplit('.', 1)[-1]} {kind['status']} {kind['error'] or ''}".strip()
                for stream in status
                for kind in stream["types"]
                if kind["status"] != "SYNCED"
            ]
            return Missing("; ".join(late)) if late else True

        until("every client is in sync", bound, condition)

    def applied(self, after=0):
        """The objects that came to be or changed by files, in events after this number of them."""
        if refused := self.events("istiod.files.refused"):
            raise Wrong("refused", "; ".join(refused[-1]["fields"]["errors"]))
        return [name for event in self.events("istiod.files.applied")[after:] for name in event["fields"]["applied"]]

    def converge(self, bound=15):
        """Waits until everything that was applied is pushed, and every client has acknowledged what it was sent."""
        def condition():
            started = self.events("istiod.push.started")
            finished = {event["cause"] for event in self.events("istiod.push.finished")}
            pushed = {cause for push in started if push["seq"] in finished for cause in push["fields"]["causes"]}
            waiting = [event["seq"] for event in self.events("istiod.files.applied") if event["seq"] not in pushed]
            return Missing(f"not pushed: events {waiting} of its log") if waiting else True

        until("fake-istiod pushes what it was given", bound, condition)
        self.settle(bound)

    def syncz(self):
        """What it tells of each stream, or why nothing."""
        try:
            url = f"http://{self.addresses['monitoring']}/debug/syncz"
            with urllib.request.urlopen(url, timeout=LOOK_SECONDS) as response:
                return json.load(response)
        except (OSError, HTTPException, ValueError) as error:
            return Missing(f"fake-istiod does not tell of its streams: {error}")

    def streams(self, bound=15):
        """How many streams each proxy has open."""
        def condition():
            status = self.syncz()
            return status if isinstance(status, Missing) else [count(status)]

        (counts,) = until("fake-istiod tells of its streams", bound, condition)
        return counts

    def events(self, kind):
        lines = whole_lines(self._log.read_text(errors="replace")) if self._log.exists() else []
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


def count(status):
    return Counter(stream["proxy"] for stream in status)


def missing_streams(wanted, status):
    have = count(status)
    return ", ".join(proxy for proxy, least in wanted.items() if have[proxy] < least)
