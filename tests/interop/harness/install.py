"""Installs and builds what the run needs into one folder, and nothing twice."""

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
REPOSITORY = HERE.parent.parent
PROTO = REPOSITORY / "echo" / "proto" / "echo.proto"
OURS = ("fake-istiod", "hermesh-agent", "hermesh-echo", "hermesh", "hermesh-witness")
STEP_SECONDS = 1500
GO_MODULE = "hermesh.test/interop/echo"


class Uninstallable(Exception):
    """Something that is needed cannot be had."""


@dataclass
class Installed:
    """Where everything is."""

    python: Path
    istiod: Path
    agent: Path
    echo: Path
    hermesh: Path
    # Where the Python code made from echo.proto is.
    generated: Path
    witnesses: dict = field(default_factory=dict)


def install(programs, say):
    """Brings everything up to date and tells where it is."""
    build = REPOSITORY / "target" / "interop"
    build.mkdir(parents=True, exist_ok=True)
    names = {program.name for program in programs}
    bins = ours(names, say)
    # The ADS client and the code generators are Python's, whoever bears witness.
    python = install_python(build, say)
    installed = Installed(python=python, istiod=bins / "fake-istiod", agent=bins / "hermesh-agent",
                          echo=bins / "hermesh-echo", hermesh=bins / "hermesh", generated=build / "python")
    installed.witnesses["grpcio"] = [python, "-B", HERE / "python" / "witness.py", installed.generated]
    if "grpc-js" in names:
        modules = install_node(build, say)
        installed.witnesses["grpc-js"] = [tool("node"), HERE / "node" / "witness.js", modules, PROTO]
    if "grpc-go" in names:
        installed.witnesses["grpc-go"] = [install_go(build, python, say)]
    installed.witnesses["hermesh"] = [bins / "hermesh-witness"]
    return installed


def ours(names, say):
    given = os.environ.get("HERMESH_BIN")
    wanted = [name for name in OURS if name != "hermesh-witness" or "hermesh" in names]
    if given:
        missing = [name for name in wanted if not os.access(Path(given) / name, os.X_OK)]
        if missing:
            raise Uninstallable(f"HERMESH_BIN={given} lacks {', '.join(missing)}")
        return Path(given).resolve()
    say("building " + ", ".join(wanted))
    bins = [part for name in wanted for part in ("--bin", name)]
    step([tool("cargo"), "build", "--workspace", "--release", "--locked", *bins], REPOSITORY)
    return Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target")) / "release"


def install_python(build, say):
    venv, generated = build / "venv", build / "python"
    python = venv / "bin" / "python"
    with Stamp(build / "python.stamp", [HERE / "python" / "requirements.txt", PROTO], sys.version) as stale:
        if stale:
            say("installing Python packages")
            shutil.rmtree(venv, ignore_errors=True)
            step([sys.executable, "-m", "venv", venv])
            pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
            step([*pip, "--requirement", HERE / "python" / "requirements.txt"])
            generated.mkdir(exist_ok=True)
            protoc(python, [f"--python_out={generated}", f"--grpc_python_out={generated}"])
    return python


def install_node(build, say):
    node = build / "node"
    sources = [HERE / "node" / name for name in ("package.json", "package-lock.json")]
    with Stamp(build / "node.stamp", sources) as stale:
        if stale:
            say("installing Node packages")
            node.mkdir(exist_ok=True)
            for source in sources:
                shutil.copy(source, node)
            step([tool("npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], node)
    return node


def install_go(build, python, say):
    go = build / "go"
    sources = sorted((HERE / "go").iterdir())
    with Stamp(build / "go.stamp", [*sources, PROTO]) as stale:
        if stale:
            say("building the Go program")
            shutil.rmtree(go, ignore_errors=True)
            shutil.copytree(HERE / "go", go)
            (go / "echo").mkdir()
            generators = ["google.golang.org/protobuf/cmd/protoc-gen-go",
                          "google.golang.org/grpc/cmd/protoc-gen-go-grpc"]
            step([tool("go"), "build", "-o", "bin/", *generators], go)
            options = f"Mecho.proto={GO_MODULE},module={GO_MODULE}"
            out = [f"--{kind}_{what}" for kind in ("go", "go-grpc")
                   for what in (f"out={go / 'echo'}", f"opt={options}")]
            protoc(python, out, path=go / "bin")
            step([tool("go"), "build", "-mod=readonly", "-o", "bin/witness", "."], go)
    return go / "bin" / "witness"


class Stamp:
    """Whether inputs have changed since the work on them was last finished."""

    def __init__(self, file, inputs, *texts):
        digest = hashlib.sha256()
        for part in [*texts, *(Path(path).read_bytes() for path in inputs)]:
            digest.update(part.encode() if isinstance(part, str) else part)
        self._file, self._digest = file, digest.hexdigest()

    def __enter__(self):
        return not (self._file.exists() and self._file.read_text() == self._digest)

    def __exit__(self, kind, *_):
        if kind is None:
            self._file.write_text(self._digest)


def protoc(python, out, path=None):
    env = dict(os.environ)
    if path:
        env["PATH"] = f"{path}{os.pathsep}{env['PATH']}"
    step([python, "-m", "grpc_tools.protoc", f"-I{PROTO.parent}", *out, PROTO.name], env=env)


def tool(name):
    found = shutil.which(name)
    if not found:
        raise Uninstallable(f"`{name}` is not on the PATH; README.md says what must be there")
    return found


def step(command, folder=None, env=None):
    command = [str(part) for part in command]
    try:
        subprocess.run(command, cwd=folder, env=env, check=True, timeout=STEP_SECONDS, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.SubprocessError) as error:
        raise Uninstallable(f"`{' '.join(command)}`: {error}") from None
