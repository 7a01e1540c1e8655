"""Child processes: started in groups of their own, logged, and ended by their ids whatever happens."""

import ctypes
import os
import signal
import subprocess

PR_SET_PDEATHSIG = 1
GRACE_SECONDS = 3
TAIL_LINES = 4
LIBC = ctypes.CDLL(None)


class Children:
    """All that were started. As a context, it leaves none behind."""

    def __init__(self, logs):
        self.logs = logs
        self._all = []
        logs.mkdir(parents=True, exist_ok=True)

    def start(self, name, command, env, pipes=False):
        """Starts a child. Only the main thread may: the child ends with the thread that started it."""
        log = self.logs / f"{name}.log"
        # One of the same name may have written to it before.
        begun = log.stat().st_size if log.exists() else 0
        with log.open("ab") as stderr:
            popen = subprocess.Popen(
                [str(part) for part in command],
                env=env,
                stdin=subprocess.PIPE if pipes else subprocess.DEVNULL,
                stdout=subprocess.PIPE if pipes else stderr,
                stderr=stderr,
                start_new_session=True,
                preexec_fn=lambda: LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL),
            )
        child = Child(name, popen, log, begun)
        self._all.append(child)
        return child

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for child in self._all:
            child.signal(signal.SIGTERM)
        for child in self._all:
            try:
                child.popen.wait(GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()


def whole_lines(text):
    """The lines of a log that may be in the middle of its last one."""
    return text.split("\n")[:-1]


class Child:
    """`begun` is how long its log was when it was started."""

    def __init__(self, name, popen, log, begun):
        self.name, self.popen, self.log, self._begun = name, popen, log, begun

    def is_running(self):
        return self.popen.poll() is None

    def signal(self, number):
        if self.is_running():
            os.killpg(self.popen.pid, number)

    def kill(self):
        """SIGKILL, and waits for the end."""
        self.signal(signal.SIGKILL)
        self.popen.wait()

    def said(self):
        """What it has written to its log."""
        return self.log.read_bytes()[self._begun:].decode(errors="replace")

    def ending(self):
        """How it ended, with its last words."""
        lines = self.said().strip().splitlines()[-TAIL_LINES:]
        return f"{self.name} ended with {self.popen.returncode}: {' / '.join(lines) or 'no last words'}"
