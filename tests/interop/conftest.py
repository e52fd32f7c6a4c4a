"""The `interop` marker: tests that run real peers."""

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Registers the marker."""
    config.addinivalue_line(
        "markers", "interop: plays against real QUIC stacks; minutes long, builds them at first"
    )
