"""The results as a page of the documentation."""

import shlex
import sys

from . import report
from .results import FAIL, LACK, PAIRS, PROGRAMS, WAYS

HEAD = """# Judged by other gRPC programs

fake-istiod and hermesh-agent run as ordinary processes on loopback, one agent beside every program, and gRPC programs
that nobody here wrote call each other through the mesh they make. At the end, Istio's article on proxyless gRPC is
played step by step in every way there is: simulated, with hermesh-echo, and with each of these programs in its place.
This page is what one run printed:

```sh
{command}
```

`tests/interop/README.md` tells how it works.
"""

BEFORE = {
    PAIRS: "A column is a client and a server.\n",
    PROGRAMS: "A column is a program.\n",
    WAYS: """## The tutorial, three ways

A line is a step of `examples/grpc-echo/tutorial.yaml`, a column a way to play it: simulated, by `hermesh run`; on
sockets with hermesh-echo as the article has it, its own flags and files, called by ForwardEcho from outside; and on
sockets with another program in its place in both pods, where the one in echo-v1 calls by its own xDS client. Steps and
expectations are read from the scenario. `5 OK 3+2`: answered by echo-v1 and by echo-v2 so often; behind it stands whom
the servers took the caller for. `same`: what the scenario expects has come about in all ways, and codes, causes and
callers are the same; counts differ as far as the expectation allows.
""",
}

LEGEND = """`OK*`: the server saw the SPIFFE ID of the caller. `UNAV`: every call ended with UNAVAILABLE, as it must. `~`:
beyond what a program can do, as this run has shown; see the notes. `!`: failed.
"""


def versions(about):
    """One line for each program, as it told of itself."""
    return [
        f"{program.short}: {told['program']} {told['version']}, {told['runtime']} ({program.about})"
        for program, told in about.items()
    ]


def page(rows, programs, about, seconds):
    tables = report.markdown_tables(rows, programs)
    parts = [
        HEAD.format(command=shlex.join(["tests/interop/run", *sys.argv[1:]])),
        "".join(f"- {line}\n" for line in versions(about)),
        *section(tables, PAIRS),
        *section(tables, PROGRAMS),
        LEGEND,
        *section(tables, WAYS),
        *([f"{agreement}.\n"] if (agreement := report.agreement(rows)) else []),
        "## In total\n",
        f"{report.summary(rows)}. The run took {seconds:.0f} s after installation.\n",
    ]
    for verdict, heading in ((LACK, "Beyond what a program can do"), (FAIL, "Failed")):
        if notes := report.notes(rows, programs, verdict):
            parts.append(f"## {heading}\n\n" + "\n".join(f"- {note}" for note in notes) + "\n")
    return "\n".join(parts)


def section(tables, name):
    return [BEFORE[name], tables[name]] if name in tables else []
