"""Our endpoint against real peers, both ways, in the quick profile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from typing import Any

import pytest

from .cases import CASES
from .namespace import NoNamespaceError, command
from .roster import PEERS, SUBJECT
from .runner import FAIL, NOT_APPLICABLE
from .setup import REPOSITORY, prepare

PEER_NAMES = [name for name in PEERS if name != SUBJECT]


@cache
def table(peer: str) -> dict[tuple[str, str], dict[str, Any]]:
    """All cells with this peer, by (case, client); played once."""
    for name in (SUBJECT, peer):
        if missing := prepare(name).missing:
            pytest.skip(f"{name}: {missing}")
    try:
        command()
    except NoNamespaceError as error:
        pytest.skip(str(error))
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.interop",
            *(("--pair", f"{SUBJECT}:{peer}") if "server" in PEERS[peer].roles else ()),
            "--pair",
            f"{peer}:{SUBJECT}",
            "--profile",
            "quick",
            "--json",
        ],
        cwd=REPOSITORY,
        env=os.environ,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    return {(cell["case"], cell["client"]): cell for cell in json.loads(done.stdout)["cells"]}


@pytest.mark.slow
@pytest.mark.interop
@pytest.mark.parametrize("role", ["client", "server"])
@pytest.mark.parametrize("peer", PEER_NAMES)
@pytest.mark.parametrize("case", CASES)
def test_case(case: str, peer: str, role: str) -> None:
    """We play `role`, the peer the other one."""
    if ("server" if role == "client" else "client") not in PEERS[peer].roles:
        pytest.skip(f"{peer} does not play that role")
    cell = table(peer)[case, SUBJECT if role == "client" else peer]
    if cell["verdict"] == NOT_APPLICABLE:
        pytest.skip(cell["reason"])
    assert cell["verdict"] != FAIL, cell["reason"]
