"""`tests/interop/run`: see README.md."""

import argparse
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from . import mesh, page, programs as known, report, tutorial
from .cases import CASES
from .failures import words
from .install import Uninstallable, install
from .processes import Children
from .results import FAIL, LACK, PASS, PROGRAMS, WAYS, Row, failed
from .world import World

PASSED, FAILED, UNABLE = 0, 1, 2


def main():
    options = parse()
    cases = [case for case in CASES if options.pattern in case.name]
    programs = [program for program in known.PROGRAMS if not options.program or program.name in options.program]
    with_tutorial = options.pattern in tutorial.NAME
    if options.list:
        listed = [(case.name, case.about) for case in cases]
        listed += [(tutorial.NAME, tutorial.ABOUT)] if with_tutorial else []
        width = max(len(case.name) for case in CASES)
        print("\n".join(f"{name:{width}}  {about}" for name, about in listed))
        return PASSED
    if not cases and not with_tutorial:
        print(f"no case has {options.pattern!r} in its name; --list shows them", file=sys.stderr)
        return UNABLE
    # Ending by a signal is an exception like any other: what was started is ended. Shells let what they start in the
    # background ignore SIGINT.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(UNABLE))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="interop-"))
    keep = options.keep
    try:
        code = judge(options, cases, with_tutorial, programs, folder)
        keep = keep or code == FAILED
        return code
    except Uninstallable as error:
        print(f"tests/interop/run: {error}", file=sys.stderr)
        return UNABLE
    except Exception as error:
        keep = True
        print(f"tests/interop/run: {words(error)}", file=sys.stderr)
        return UNABLE
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return UNABLE
    finally:
        if keep:
            print(f"logs and files are kept in {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder, ignore_errors=True)


def parse():
    parser = argparse.ArgumentParser(
        prog="tests/interop/run",
        description="Judges fake-istiod and hermesh-agent by real gRPC programs, on loopback.",
        epilog="Exit codes: 0 all passed, 1 a case failed, 2 the cases could not be run. "
               "HERMESH_BIN names a folder with our programs; without it they are built.",
    )
    parser.add_argument("--list", action="store_true", help="show the cases, run nothing")
    parser.add_argument("-k", dest="pattern", default="", metavar="PATTERN", help="only cases with this in their name")
    parser.add_argument("--program", action="append", choices=[one.name for one in known.PROGRAMS],
                        help="only this program; may be repeated")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write the results as a page")
    parser.add_argument("--keep", action="store_true", help="keep logs and files of a run without failures, too")
    return parser.parse_args()


def judge(options, cases, with_tutorial, programs, folder):
    started = time.monotonic()

    def say(text):
        print(f"[{time.monotonic() - started:5.1f} s] {text}", file=sys.stderr, flush=True)

    installed = install(programs, say)
    started = time.monotonic()
    rows, about = [], {}
    if cases:
        rows, about = in_one_world(installed, cases, programs, folder, say)
    if with_tutorial:
        played, told = in_all_ways(installed, programs, folder, say)
        rows, about = rows + played, about or told
    seconds = time.monotonic() - started
    print(report.text_tables(rows, programs))
    for verdict, heading in ((LACK, "Beyond what a program can do (~):"), (FAIL, "Failed (!):")):
        if notes := report.notes(rows, programs, verdict):
            print(heading, *(f"  {note}" for note in notes), sep="\n")
    print("\n".join(page.versions(about)))
    print(f"{seconds:.0f} s after installation")
    if agreement := report.agreement(rows):
        print(agreement)
    counts = report.totals(rows)
    if counts[LACK]:
        print(f"{counts[LACK]} beyond what a program can do")
    print(f"{counts[PASS]} passed, {counts[FAIL]} failed")
    if options.markdown:
        options.markdown.write_text(page.page(rows, programs, about, seconds))
    return FAILED if counts[FAIL] else PASSED


def in_one_world(installed, cases, programs, folder, say):
    """The rows of cases that share pods and control plane, and what each program says of itself."""
    groups = tuple(group for group in mesh.GROUPS if any(group in case.groups for case in cases))
    with Children(folder / "logs") as children:
        world = World(installed, programs, groups or (mesh.PLAIN,), folder, children)
        world.start(say)
        about = world.about()
        return run(cases, world, say), about


def in_all_ways(installed, programs, folder, say):
    """The rows of the tutorial, and what each program says of itself."""
    rows, about = [], {}
    try:
        for row in tutorial.run(installed, programs, folder, say, about):
            rows.append(row)
    except Exception as error:
        note = words(error)
        cells = {program.way: failed("stuck", note) for program in programs}
        rows.append(Row(f"{tutorial.NAME}: what follows" if rows else tutorial.NAME, cells, WAYS, "not played"))
    return rows, about


def run(cases, world, say):
    begun = {case.name: case.begin(world) for case in cases if case.begin}
    rows = []
    for case in cases:
        say(case.name)
        try:
            for row in case.run(world, begun[case.name]) if case.name in begun else case.run(world):
                rows.append(row)
        except Exception as error:
            note = words(error)
            cells = {program.name: failed("stuck", note) for program in world.programs}
            rows.append(Row(case.name, cells, PROGRAMS))
    return rows


sys.exit(main())
