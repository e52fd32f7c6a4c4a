"""Certificates."""

from __future__ import annotations

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
