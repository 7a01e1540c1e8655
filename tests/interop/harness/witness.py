"""A gRPC program that does as it is told: the harness' end of the protocol."""

import itertools
import json
import queue
import threading

ANSWER_SECONDS = 60


class Refused(Exception):
    """The program could not do what it was told."""


class Gone(Exception):
    """The program's process has ended."""


class Witness:
    """One process of a program, in a pod."""

    def __init__(self, program, child):
        self.program, self.child = program, child
        self._ids = itertools.count(1)
        self._waiting, self._lock = {}, threading.Lock()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def ask(self, op, bound=ANSWER_SECONDS, **fields):
        """Sends a command and waits for its answer."""
        return self.answer(self.send(op, **fields), op, bound)

    def send(self, op, **fields):
        """Sends a command; `answer` waits for what comes of it."""
        box = queue.SimpleQueue()
        with self._lock:
            number = next(self._ids)
            self._waiting[number] = box
        line = json.dumps({"id": number, "op": op, **fields}) + "\n"
        try:
            self.child.popen.stdin.write(line.encode())
            self.child.popen.stdin.flush()
        except (BrokenPipeError, ValueError):
            raise self._gone() from None
        if not self._reader.is_alive():
            raise self._gone()
        return box

    def answer(self, box, op, bound=ANSWER_SECONDS):
        try:
            answer = box.get(timeout=bound)
        except queue.Empty:
            raise Refused(f"{self.child.name}: no answer to {op} within {bound} s") from None
        if answer is None:
            raise self._gone()
        if "error" in answer and "serving" not in answer:
            raise Refused(f"{self.child.name}: {op}: {answer['error']}")
        return answer

    def _gone(self):
        self.child.popen.wait()
        return Gone(self.child.ending())

    def _read(self):
        for line in self.child.popen.stdout:
            answer = json.loads(line)
            with self._lock:
                box = self._waiting.pop(answer["id"])
            box.put(answer)
        with self._lock:
            for box in self._waiting.values():
                box.put(None)
            self._waiting.clear()
