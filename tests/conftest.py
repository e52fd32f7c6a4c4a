"""The time limit of tests that wait for events."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

TIME_LIMIT = 60.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that waits for something that never comes fails instead of blocking the others."""
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            item.obj = _limited(item.obj)


def _limited(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    @functools.wraps(test)
    async def limited(*args: Any, **kwargs: Any) -> None:
        async with asyncio.timeout(TIME_LIMIT):
            await test(*args, **kwargs)

    return limited
