"""The methods of RFC 9110, for whatever sends requests."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from tquic.h3.headers import HeadersLike
from tquic.h3.priority import Priority

if TYPE_CHECKING:
    from tquic.h3.client import Content, Response

__all__ = ["Methods"]


class Methods(ABC):
    """Short forms of `request`."""

    @abstractmethod
    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: HeadersLike | None = None,
        content: Content = None,
        trailers: HeadersLike | None = None,
        priority: Priority | None = None,
    ) -> Response:
        """Sends a request, and waits for the header section of its response."""

    async def get(
        self, url: str, *, headers: HeadersLike | None = None, priority: Priority | None = None
    ) -> Response:
        """GET; see `request`."""
        return await self.request("GET", url, headers=headers, priority=priority)

    async def head(self, url: str, *, headers: HeadersLike | None = None) -> Response:
        """HEAD; see `request`."""
        return await self.request("HEAD", url, headers=headers)

    async def post(
        self, url: str, content: Content = None, *, headers: HeadersLike | None = None
    ) -> Response:
        """POST; see `request`."""
        return await self.request("POST", url, headers=headers, content=content)

    async def put(
        self, url: str, content: Content = None, *, headers: HeadersLike | None = None
    ) -> Response:
        """PUT; see `request`."""
        return await self.request("PUT", url, headers=headers, content=content)

    async def delete(self, url: str, *, headers: HeadersLike | None = None) -> Response:
        """DELETE; see `request`."""
        return await self.request("DELETE", url, headers=headers)
