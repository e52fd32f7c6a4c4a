"""Programs written for aioquic, run as they are and with tquic.compat.aioquic in its place."""

from __future__ import annotations

import re
import types
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trustme

PROGRAMS = Path(__file__).parent / "programs"


def translate(text: str) -> str:
    """The program with only its imports changed."""
    return re.sub(r"^(from|import) aioquic\b", r"\1 tquic.compat.aioquic", text, flags=re.MULTILINE)


def load(text: str, stack: str, name: str) -> types.ModuleType:
    """Runs a program's text on a stack: ``"aioquic"`` or ``"tquic"``."""
    if stack == "aioquic":
        pytest.importorskip("aioquic")
    else:
        text = translate(text)
    module = types.ModuleType(f"{name}_on_{stack}")
    exec(compile(text, f"{name} on {stack}", "exec"), vars(module))
    return module


class Files(NamedTuple):
    """Certificates as files."""

    ca: str
    cert: str
    key: str


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA) -> Files:
    directory = tmp_path_factory.mktemp("certificates")
    leaf = authority.issue_cert("localhost", "127.0.0.1")
    authority.cert_pem.write_to_path(str(directory / "ca.pem"))
    (directory / "cert.pem").write_bytes(b"".join(c.bytes() for c in leaf.cert_chain_pems))
    leaf.private_key_pem.write_to_path(str(directory / "key.pem"))
    return Files(*(str(directory / name) for name in ("ca.pem", "cert.pem", "key.pem")))


def address(server: Any) -> tuple[str, int]:
    """Where a server of either stack listens."""
    host, port, *_ = server._transport.get_extra_info("sockname")
    return host, port


# The client's stack, the server's.
PAIRS = [("tquic", "tquic"), ("tquic", "aioquic"), ("aioquic", "tquic"), ("aioquic", "aioquic")]


@pytest.fixture(params=PAIRS, ids=["-to-".join(pair) for pair in PAIRS])
def run(request: pytest.FixtureRequest, files: Files) -> Any:
    """Runs both halves of a program; answers what its client answers, and both modules."""
    client_stack, server_stack = request.param

    async def run(name: str) -> tuple[Any, types.ModuleType, types.ModuleType]:
        text = (PROGRAMS / f"{name}.py").read_text()
        client, server = load(text, client_stack, name), load(text, server_stack, name)
        listening = await server.server(files.cert, files.key)
        try:
            return await client.client(*address(listening), files.ca), client, server
        finally:
            listening.close()

    return run
