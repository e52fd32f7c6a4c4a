"""Certificates for programs that are started, and ended, by the tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.support import tquic


@pytest.fixture(scope="session")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ca.pem, cert.pem and key.pem for this machine."""
    folder = tmp_path_factory.mktemp("certs")
    assert tquic("cert", "--out", folder).returncode == 0
    return folder
