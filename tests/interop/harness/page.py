"""The results as a page of the documentation."""

import shlex
import sys

from . import report
from .results import FAIL, LACK

HEAD = """# Judged by other gRPC programs

fake-istiod and hermesh-agent run as ordinary processes on loopback, one agent beside every program, and gRPC programs
that nobody here wrote call each other through the mesh they make. This page is what one run printed:

```sh
{command}
```

`tests/interop/README.md` tells how it works. A column is a client and a server.
"""

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
    parts = [
        HEAD.format(command=shlex.join(["tests/interop/run", *sys.argv[1:]])),
        "".join(f"- {line}\n" for line in versions(about)),
        report.markdown_table(rows, programs),
        LEGEND,
        f"In total: {report.summary(rows)}. The run took {seconds:.0f} s after installation.\n",
    ]
    for verdict, heading in ((LACK, "Beyond what a program can do"), (FAIL, "Failed")):
        if notes := report.notes(rows, programs, verdict):
            parts.append(f"## {heading}\n\n" + "\n".join(f"- {note}" for note in notes) + "\n")
    return "\n".join(parts)
