"""Certificates."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import trustme

from .tls import Identity


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def ca(authority: trustme.CA) -> bytes:
    return authority.cert_pem.bytes()


@pytest.fixture(scope="session")
def identity(authority: trustme.CA) -> Identity:
    leaf = authority.issue_cert("localhost")
    chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
    return Identity(chain, leaf.private_key_pem.bytes())


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """What a peer does is nothing that could not be handled."""
    yield
    records = caplog.get_records("call")
    assert not [one.getMessage() for one in records if one.levelno >= logging.ERROR]
