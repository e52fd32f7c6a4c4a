"""What a process may do while connections are open: fork, end, leave threads behind, begin another
interpreter."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from .programs import run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="programs for Unix")

# Seconds within which a program has ended; who waited for its connections would need 30.
SOON = 20.0

# A server and a connection to it in the same process.
COMMON = """
import gc, os, sys, threading, time
import tquic.sync

async def echo(connection):
    async for stream in connection:
        async for chunk in stream:
            await stream.write(chunk)
        stream.finish()

def serve_and_connect():
    server = tquic.sync.serve("127.0.0.1", 0, config=config)
    return server, tquic.sync.connect(*server.address, config=config), server.accept()
"""


def program(certs: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Runs a program to its end."""
    return run(certs, COMMON + textwrap.dedent(text))


def runs(certs: Path, text: str) -> str:
    """What it prints, if nothing goes wrong."""
    done = program(certs, text)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


FORK = """
server, client, far = serve_and_connect()
stream = client.open_stream()
stream.write(b"before")
peer = far.accept_stream()
assert peer.readexactly(6) == b"before"
engine = tquic.Engine.default()
pid = os.fork()
if pid == 0:
    {child}
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
# Nothing of it is the parent's business.
stream.write(b"after!")
assert peer.readexactly(6) == b"after!"
client.close()
server.close()
print("went on")
"""

CHILDREN = {
    "leaves at once": "os._exit(0)",
    # Interpreter shutdown and every destructor, with objects of the parent's engine.
    "ends as programs do": "sys.exit(0)",
    "drops everything": "del stream, peer, client, far, server; gc.collect(); os._exit(0)",
    "uses the parent's connection": """
    for use in (
        *(stream.read, client.ping, client.accept_stream, client.stats, server.accept),
        *(client.paths, engine.stats, engine.snapshot),
        lambda: tquic.sync.connect(*server.address, config=config, engine=engine),
        lambda: tquic.sync.serve("127.0.0.1", 0, config=config, engine=engine),
        lambda: engine.connect_many(*server.address, 1, config=config),
    ):
        try:
            use()
        except tquic.EngineError as error:
            assert "fork" in str(error)
        else:
            os._exit(1)
    # What asks for nothing does nothing.
    stream.reset(1)
    client.close()
    server.close()
    os._exit(0)
    """,
    "has connections of its own": """
    own_server, own_client, own_far = serve_and_connect()
    own = own_client.open_stream()
    own.write(b"mine")
    assert own_far.accept_stream().readexactly(4) == b"mine"
    own_client.close()
    own_server.close()
    sys.exit(0)
    """,
}


@pytest.mark.parametrize("child", CHILDREN.values(), ids=CHILDREN)
def test_a_fork_in_the_middle_of_a_connection(certs: Path, child: str) -> None:
    body = textwrap.indent(textwrap.dedent(child).strip(), "    ").strip()
    assert runs(certs, FORK.format(child=body)) == "went on\n"


def test_children_of_multiprocessing(certs: Path) -> None:
    out = runs(
        certs,
        """
        import multiprocessing
        def work(queue):
            server, client, far = serve_and_connect()
            stream = client.open_stream()
            stream.write(b"x")
            queue.put(bytes(far.accept_stream().readexactly(1)))
        server, client, far = serve_and_connect()
        context = multiprocessing.get_context("fork")
        queue = context.Queue()
        children = [context.Process(target=work, args=(queue,)) for _ in range(3)]
        for child in children:
            child.start()
        assert [queue.get(timeout=30) for _ in children] == [b"x"] * 3
        for child in children:
            child.join(30)
            assert child.exitcode == 0
        client.open_stream().write(b"x")
        print("all")
        """,
    )
    assert out == "all\n"


ENDINGS = {
    "an open connection": """
        server, client, far = serve_and_connect()
        client.open_stream().write(b"x" * 100_000)
    """,
    "a loop that was left": """
        loop = asyncio.new_event_loop()
        async def main():
            server = await tquic.serve("127.0.0.1", 0, echo, config=config)
            client = await tquic.connect(*server.address, config=config)
            stream = client.open_stream()
            await stream.write(b"x" * 100_000)
            return server, client, stream
        kept = loop.run_until_complete(main())
        loop.close()
    """,
    "daemon threads that wait": """
        server, client, far = serve_and_connect()
        stream = client.open_stream()
        stream.write(b"x")
        peer = far.accept_stream()
        for wait in (stream.read, client.accept_stream, server.accept, peer.read):
            threading.Thread(target=wait, daemon=True).start()
        time.sleep(0.2)
    """,
    "daemon threads at work": """
        server, client, far = serve_and_connect()
        def pump(stream):
            while True:
                stream.write(b"x" * 65536)
        def drain(stream):
            while stream.read(65536):
                pass
        for _ in range(3):
            stream = client.open_stream()
            stream.write(b"x")
            for work in ((pump, stream), (drain, far.accept_stream())):
                threading.Thread(target=work[0], args=work[1:], daemon=True).start()
        time.sleep(0.3)
    """,
    "a loop in a daemon thread": """
        ready = threading.Event()
        async def main():
            async with (
                tquic.serve("127.0.0.1", 0, echo, config=config) as server,
                tquic.connect(*server.address, config=config) as client,
            ):
                stream = client.open_stream()
                ready.set()
                while True:
                    await stream.write(b"x" * 10_000)
                    await stream.readexactly(10_000)
        threading.Thread(target=asyncio.run, args=(main(),), daemon=True).start()
        assert ready.wait(30)
        time.sleep(0.2)
    """,
    "a controller and a scheduler in Python": """
        import tquic.congestion, tquic.multipath
        class Window(tquic.congestion.Controller):
            def on_ack(self, batch):
                self.window = 100_000
        class First(tquic.multipath.Scheduler):
            def select_path(self, paths, burst):
                return paths[0]
        server, client, far = serve_and_connect()
        client.set_congestion(Window)
        client.set_scheduler(First)
        stream = client.open_stream()
        stream.write(b"x" * 100_000)
    """,
    "a handshake under way": """
        import socket
        silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        silent.bind(("127.0.0.1", 0))
        place = silent.getsockname()
        connect = lambda: tquic.sync.connect(*place, config=config)
        threading.Thread(target=connect, daemon=True).start()
        time.sleep(0.2)
    """,
}


@pytest.mark.parametrize("text", ENDINGS.values(), ids=ENDINGS)
def test_a_program_ends_with(certs: Path, text: str) -> None:
    """At once, without a word, and with its own status."""
    text = textwrap.dedent(text) + "\nprint(time.time(), flush=True)\nsys.exit(7)\n"
    done = program(certs, text)
    left = time.time()
    assert (done.returncode, done.stderr) == (7, "")
    assert left - float(done.stdout) < SOON


def test_an_engine_that_was_shut_down(certs: Path) -> None:
    out = runs(
        certs,
        """
        server, client, far = serve_and_connect()
        stream = client.open_stream()
        tquic.Engine.default().shutdown()
        connect = lambda: tquic.sync.connect(*server.address, config=config)
        serve = lambda: tquic.sync.serve("127.0.0.1", 0, config=config)
        for act in (stream.read, client.accept_stream, client.stats, connect, serve):
            try:
                act()
            except tquic.QuicError as error:
                print(type(error).__name__)
        """,
    )
    assert out.split() == ["ApplicationClosed"] * 3 + ["EngineError"] * 2


SUBINTERPRETER = """
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
one = interpreters.create()
script = '''
try:
    import tquic
except ImportError as error:
    said = str(error)
else:
    said = "works"
    import tquic.sync
import os
os.write(1, said.encode())
'''
interpreters.run_string(one, script)
interpreters.destroy(one)
# This one is as it was.
server, client, far = serve_and_connect()
client.open_stream().write(b"x")
client.close()
server.close()
"""


def test_another_interpreter_is_refused_in_words(certs: Path) -> None:
    said = runs(certs, SUBINTERPRETER)
    assert "subinterpreters" in said


@pytest.mark.skipif(sys.platform != "linux", reason="counts in /proc")
def test_no_descriptors_are_left(certs: Path) -> None:
    """Neither for an engine nor for a socket: told as such, and all is well when there are some."""
    out = runs(
        certs,
        """
        import errno, resource
        def short_of_descriptors(act):
            before = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
            taken = []
            try:
                while True:
                    try:
                        taken.append(os.dup(0))
                    except OSError:
                        break
                act()
            except OSError as error:
                print(errno.errorcode[error.errno])
            finally:
                for one in taken:
                    os.close(one)
                resource.setrlimit(resource.RLIMIT_NOFILE, before)
        short_of_descriptors(tquic.Engine)
        engine = tquic.Engine()
        short_of_descriptors(lambda: tquic.sync.serve("127.0.0.1", 0, config=config, engine=engine))
        with tquic.sync.serve("127.0.0.1", 0, config=config, engine=engine) as server:
            connect = lambda: tquic.sync.connect(*server.address, config=config, engine=engine)
            short_of_descriptors(connect)
            with connect() as client:
                client.open_stream().write(b"x")
                print(bytes(server.accept().accept_stream().readexactly(1)).decode())
        """,
    )
    assert out.split() == ["EMFILE"] * 3 + ["x"]


def test_a_disk_that_is_full_has_its_number(certs: Path, tmp_path: Path) -> None:
    out = runs(
        certs,
        f"""
        import errno, resource
        server, client, far = serve_and_connect()
        stream = client.open_stream()
        stream.write(bytes(100_000))
        stream.finish()
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
        try:
            far.accept_stream().recv_to_file({str(tmp_path / "x")!r})
        except OSError as error:
            print(errno.errorcode[error.errno])
        """,
    )
    assert out == "EFBIG\n"
