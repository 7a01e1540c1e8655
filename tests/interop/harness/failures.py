"""What may go wrong while cases run, in words."""

import sys
import traceback
from subprocess import SubprocessError

from .results import Wrong
from .waiting import Unmet
from .witness import Gone, Refused

# Their messages tell what was wrong; anything else is a mistake of the harness itself.
KNOWN = (Wrong, Unmet, Gone, Refused, RuntimeError, SubprocessError)


def words(error):
    """What an exception says. Where one comes from that nobody expected is told on standard error."""
    if isinstance(error, KNOWN):
        return str(error)
    print("".join(traceback.format_exception(error)), file=sys.stderr, end="", flush=True)
    return f"{type(error).__name__}: {error}"
