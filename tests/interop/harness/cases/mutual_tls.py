"""Plaintext and mTLS at either end, by status code; `*` means that the server saw who called."""

from ..manifests import full
from ..mesh import PLAIN, STRICT
from ..pairs import each_pair, fresh_call
from ..reasons import HANDSHAKE, IDENTITY
from ..results import Wrong, all_are, all_from, codes, passed

CALLS = 3


def run(world):
    return [
        each_pair(world, "client plain, server plain", answered("echo", PLAIN, identity=False)),
        each_pair(world, "client mTLS, server plain", refused("tls", PLAIN, words=HANDSHAKE)),
        each_pair(world, "client plain, server STRICT", refused("strict", STRICT)),
        each_pair(world, "client mTLS, server STRICT", answered("mutual", STRICT, identity=True)),
        each_pair(world, "the same, server is somebody else", refused("impostor", STRICT, words=IDENTITY)),
        each_pair(world, "mTLS wanted, insecure credentials, server STRICT", refused("mutual", STRICT, "insecure")),
        each_pair(world, "mTLS wanted, insecure credentials, server plain",
                  answered("tls", PLAIN, identity=False, credentials="insecure")),
    ]


def answered(host, space, identity, credentials="xds"):
    def ask(pod, _, server):
        answer = call(pod, host, space, server, credentials)
        all_from(answer, pod.identity if identity else None)
        return passed("OK*" if identity else "OK")

    return ask


def refused(host, space, credentials="xds", words=None):
    def ask(pod, _, server):
        answer = call(pod, host, space, server, credentials)
        all_are(answer, "UNAVAILABLE")
        if words and not any(words.search(error) for error in answer["errors"]):
            raise Wrong(codes(answer), f"refused for another reason: {'; '.join(answer['errors'])}")
        return passed(codes(answer))

    return ask


def call(pod, host, space, server, credentials):
    target = f"xds:///{full(space, f'{host}-{server.name}')}:7070"
    return fresh_call(pod, f"{credentials} {target}", target, credentials=credentials, count=CALLS, timeout_ms=10000)
