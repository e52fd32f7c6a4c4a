"""C programs, compiled against `tquic.h` and run by `tquic run`."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tquic
from tquic.cli.run import LIBRARY
from tquic.socket import *

from .conftest import LONG, Identity

PROGRAMS = Path(__file__).with_name("programs")
COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")

pytestmark = [
    pytest.mark.skipif(COMPILER is None, reason="no C compiler here"),
    pytest.mark.skipif(not LIBRARY.exists(), reason="built on Linux only"),
]


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("programs")
    for source in (PROGRAMS / "client.c", PROGRAMS / "server.c"):
        flags = ["-O2", "-D_FORTIFY_SOURCE=2", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror"]
        command = [str(COMPILER), *flags, f"-I{tquic.get_include()}", "-o", folder / source.stem]
        subprocess.run([*command, source], check=True)
    return folder


@pytest.fixture
def environment(identity: Identity, tmp_path: Path) -> dict[str, str]:
    names = {"TQUIC_CERT_FILE": identity.cert, "TQUIC_KEY_FILE": identity.key}
    names["SSL_CERT_FILE"] = identity.ca
    found = dict(os.environ)
    for name, content in names.items():
        path = tmp_path / name
        path.write_bytes(content)
        found[name] = str(path)
    return {**found, "TQUIC_SOCKET_DEBUG": "1"}


def start(environment: dict[str, str], *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tquic", "run", *map(str, arguments)]
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE)


CLIENT = """\
configured
connected
two paths
sent
Stream 0: 12 bytes
hello, world
buffer free again
"""


def test_the_guides_client_and_server(programs: Path, environment: dict[str, str]) -> None:
    server = start(environment, programs / "server")
    assert server.stdout is not None
    port = server.stdout.readline().strip()
    client = start(environment, programs / "client", port)
    try:
        assert (client.communicate(timeout=LONG)[0], client.returncode) == (CLIENT, 0)
        assert (server.communicate(timeout=LONG)[0], server.returncode) == (
            "12 bytes, state 3\n",
            0,
        )
    finally:
        client.kill()
        server.kill()


def test_the_c_client_and_a_python_server(
    programs: Path, environment: dict[str, str], identity: Identity
) -> None:
    listener = socket()
    listener.settimeout(LONG)
    for option, value in [
        (TQUIC_CERT, identity.cert),
        (TQUIC_KEY, identity.key),
        (TQUIC_SOCKOPT_ALPN, b"h3"),
        (TQUIC_SOCKOPT_MULTIPATH_ENABLE, 1),
    ]:
        listener.setsockopt(SOL_TQUIC, option, value)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    client = start(environment, programs / "client", listener.getsockname()[1])
    try:
        server, _ = listener.accept()
        server.settimeout(LONG)
        got = b""
        while True:
            message = server.recv_stream()
            assert message is not None
            got += message.data
            if message.fin:
                break
        server.send_stream(0, got, fin=True)
        assert (client.communicate(timeout=LONG)[0], client.returncode) == (CLIENT, 0)
    finally:
        client.kill()
    server.close()
    listener.close()


def test_a_python_client_and_the_c_server(
    programs: Path, environment: dict[str, str], identity: Identity
) -> None:
    process = start(environment, programs / "server")
    assert process.stdout is not None
    try:
        with socket() as client:
            client.settimeout(LONG)
            client.setsockopt(SOL_TQUIC, TQUIC_CA, identity.ca)
            client.setsockopt(SOL_TQUIC, TQUIC_SOCKOPT_ALPN, b"h3")
            client.connect(("localhost", int(process.stdout.readline())))
            client.send_stream(0, b"four", fin=True)
            assert client.recv_stream() == (b"four", 0, TQUIC_STREAM_FLAG_FIN, None)
        assert (process.communicate(timeout=LONG)[0], process.returncode) == (
            "4 bytes, state 3\n",
            0,
        )
    finally:
        process.kill()


@pytest.fixture
def netlink(tmp_path: Path) -> Path:
    """The guide's netlink fragment, compiled against libnl."""
    config = shutil.which("pkg-config")
    found = config and subprocess.run(
        [config, "--cflags", "--libs", "libnl-genl-3.0"],
        capture_output=True,
        text=True,
        check=False,
    )
    if not found or found.returncode:
        pytest.skip("libnl is not here: Debian's libnl-genl-3-dev and pkg-config")
    program = tmp_path / "qlog"
    flags = ["-O2", "-Wall", "-Wextra", "-Wno-unused", "-Werror", f"-I{tquic.get_include()}"]
    command = [str(COMPILER), *flags, "-o", program, PROGRAMS / "qlog.c", *found.stdout.split()]
    subprocess.run(command, check=True)
    return program


def test_the_guides_netlink_fragment(
    programs: Path, netlink: Path, environment: dict[str, str]
) -> None:
    """The C client tells by netlink, and the program that the guide has for it hears that."""
    if os.geteuid():
        pytest.skip("netlink groups are for root")
    with contextlib.ExitStack() as processes:
        hearer = processes.enter_context(start(environment, netlink, 60))
        processes.callback(hearer.kill)
        assert hearer.stdout is not None
        if hearer.stdout.readline() != "listening\n":
            pytest.skip("no netlink groups in this place, although for root")
        server = processes.enter_context(start(environment, programs / "server"))
        processes.callback(server.kill)
        assert server.stdout is not None
        port = server.stdout.readline().strip()
        client = processes.enter_context(start(environment, programs / "client", port))
        processes.callback(client.kill)
        assert client.communicate(timeout=LONG)[0] == CLIENT
        lines = hearer.communicate(timeout=LONG)[0].splitlines()
        assert hearer.returncode == 0
    assert len(lines) == 60
    events = []
    for line in lines:
        kind, severity, length, text = line.split(" ", 3)
        events.append((int(kind), json.loads(text)))
        # The option of the client asks for no more.
        assert int(severity) <= TQUIC_QLOG_SEV_BASE or int(kind) >= 0x100
        assert 8 <= int(length) <= 20
    assert events[0][0] == 0x100
    assert events[0][1]["trace"]["vantage_point"]["type"] == "client"
    # Bits of QLOG_MASK_ALL.
    names = {kind: event["name"] for kind, event in events[1:]}
    assert names[14] == "quic:packet_sent"
    assert names[15] == "quic:packet_received"


def test_the_family_is_there_for_those_who_run_by_tquic_only(netlink: Path) -> None:
    done = subprocess.run([netlink], capture_output=True, text=True, timeout=LONG, check=False)
    assert done.returncode == 4
    assert "no family" in done.stderr


def test_without_a_program(environment: dict[str, str]) -> None:
    with start(environment, "no-such-program-here") as done:
        assert done.wait(LONG) == 2
