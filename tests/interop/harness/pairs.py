"""The same question for every client and every server."""

from .failures import words
from .results import PROGRAMS, Row, Wrong, failed
from .witness import Gone


def each_pair(world, label, ask):
    """A row of what `ask(client's pod, client, server)` says; the clients work side by side, each server by server."""
    def of_client(client):
        pod = world.client(client)
        return {(client.name, server.name): attempt(ask, pod, client, server) for server in world.programs}

    row = Row(label)
    for cells in world.together(of_client, world.programs):
        row.cells.update(cells)
    return row


def each_program(world, label, ask):
    """A row of what `ask(program)` says."""
    cells = world.together(lambda program: (program.name, attempt(ask, program)), world.programs)
    return Row(label, dict(cells), PROGRAMS)


def attempt(ask, *of):
    """The cell that `ask` gives, or one that says what was wrong."""
    try:
        return ask(*of)
    except Wrong as wrong:
        return failed(wrong.text, str(wrong))
    except Gone as gone:
        return failed("ended", str(gone))
    except Exception as error:
        return failed("stuck", words(error))


def fresh_call(pod, channel, target, **fields):
    """Calls on a channel of its own, and closes it."""
    answer = pod.witness.ask("call", channel=channel, target=target, **fields)
    pod.witness.ask("close", channel=channel)
    return answer
