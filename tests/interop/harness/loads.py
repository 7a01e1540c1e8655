"""Every client calls every server all the time, while something happens."""

from .defects import lost
from .results import Wrong, codes, lacking, passed
from .waiting import Missing, until

INTERVAL_MS = 40
REACH_SECONDS = 15


class Loads:
    """As a context, calls go on inside; `cells` tells what became of them afterwards."""

    def __init__(self, callers, name, target, interval_ms=INTERVAL_MS):
        """`callers` maps (client, server) to the pod that calls; `target` gives the server's URI."""
        self._callers, self._name = callers, name
        self._target, self._interval_ms = target, interval_ms
        self._answers, self._refusals = {}, {}

    def channel(self, pair):
        return f"{self._name} {pair[1]}"

    def __enter__(self):
        for pair, pod in self._callers.items():
            self.start(pair, pod)
        # What happens next is to meet channels that work.
        for pair in self._callers:
            until(f"{self._name}: {pair[0]} reaches {pair[1]}", REACH_SECONDS, lambda: self._reaches(pair))
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self, pair, pod):
        pod.witness.ask("load", channel=self.channel(pair), target=self._target(pair[1]),
                        interval_ms=self._interval_ms, timeout_ms=5000)

    def call(self, pair, **fields):
        """Calls on the same channel, beside the load."""
        pod = self._callers[pair]
        return pod.witness.ask("call", channel=self.channel(pair), target=self._target(pair[1]), **fields)

    def _reaches(self, pair):
        answer = self.call(pair)
        return set(answer["codes"]) == {"OK"} or Missing("; ".join(answer["errors"]))

    def stop(self):
        for pair, pod in self._callers.items():
            try:
                self._answers[pair] = pod.witness.ask("stop", channel=self.channel(pair))
                pod.witness.ask("close", channel=self.channel(pair))
            except Exception as error:
                self._refusals[pair] = error
        self._callers = {}

    def answer(self, pair):
        """What became of the pair's calls."""
        if pair in self._refusals:
            raise self._refusals[pair]
        return self._answers[pair]

    def unharmed(self, pair):
        """A cell that passes if no call failed."""
        answer = self.answer(pair)
        count = sum(answer["codes"].values())
        if set(answer["codes"]) != {"OK"}:
            if found := lost(pair[0], answer):
                return lacking(codes(answer), found)
            raise Wrong(codes(answer), f"{answer['codes']}: {'; '.join(answer['errors'])}")
        return passed(f"{count} OK")
