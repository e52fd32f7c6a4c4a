"""HTTP/3 users for Locust (https://locust.io); needs the extra ``tquic[locust]``.

::

    from locust import between, task
    from tquic.locust import Http3User

    class Reader(Http3User):
        wait_time = between(1, 2)

        @task
        def front_page(self):
            self.client.get("/")
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, ClassVar, Self

from locust import User
from locust.exception import LocustError, ResponseError

from tquic.config import Config
from tquic.errors import QuicError
from tquic.h3.client import Origin
from tquic.h3.headers import Headers, HeadersLike
from tquic.sync import h3

__all__ = ["Answer", "Http3Session", "Http3User"]


class Answer:
    """A response that has been read; as a context manager with ``catch_response=True``, which
    leaves it to the program whether it is a success."""

    def __init__(self, session: Http3Session, facts: dict[str, Any]) -> None:
        self._session = session
        self._facts = facts
        self.status: int = 0
        """The status code; 0 if no response came."""
        self.headers: Headers = Headers([])
        """Its fields."""
        self.content: bytes = b""
        """Its content."""
        self.error: Exception | None = None
        """Why it counts as failed: an error, or a status of 400 or above."""

    @property
    def ok(self) -> bool:
        """Whether it counts as a success."""
        return self.error is None

    def text(self) -> str:
        """The content as text in UTF-8."""
        return self.content.decode("utf-8", "replace")

    def success(self) -> None:
        """It counts as a success, whatever its status."""
        self.error = None

    def failure(self, why: str | Exception) -> None:
        """It counts as failed."""
        self.error = why if isinstance(why, Exception) else ResponseError(why)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if isinstance(error, ResponseError):
            self.error = error
        self._session._report(self, self._facts)
        return isinstance(error, ResponseError)


class Http3Session:
    """Sends requests and reports them to Locust: `Http3User.client`.

    Args:
        environment: Locust's.
        base: URL that paths are added to.
        config: settings.
        timeout: seconds that connecting or a response may take.
        user: whose it is.
    """

    def __init__(
        self,
        environment: Any,
        base: str,
        *,
        config: Config | None = None,
        timeout: float = 30.0,
        user: Any = None,
    ) -> None:
        self._environment = environment
        self._base = base.rstrip("/")
        self._user = user
        self._client = h3.Client(config=config, timeout=timeout)

    def request(
        self,
        method: str,
        path: str,
        *,
        name: str | None = None,
        headers: HeadersLike | None = None,
        content: bytes | None = None,
        catch_response: bool = False,
        context: Mapping[str, Any] | None = None,
    ) -> Answer:
        """Sends a request, reads the response to its end and reports both.

        Args:
            method: such as ``"GET"``.
            path: a path at the user's host, or a whole URL.
            name: under which statistics count it. Default: the path.
            headers: fields.
            content: of the request.
            catch_response: report it only when the `Answer` is left as a context manager.
            context: for listeners of Locust's event ``request``.
        """
        url = path if "://" in path else self._base + path
        facts: dict[str, Any] = {
            "request_type": method,
            "name": name or path,
            "start_time": time.time(),
        }
        facts["context"] = {**(self._user.context() if self._user else {}), **(context or {})}
        answer = Answer(self, facts)
        begun = time.perf_counter()
        try:
            response = self._client.request(method, url, headers=headers, content=content)
            answer.status, answer.headers = response.status, response.headers
            answer.content = response.read()
            if answer.status >= 400:
                answer.failure(f"status {answer.status}")
        except (QuicError, OSError) as error:
            answer.error = error
        facts["response_time"] = (time.perf_counter() - begun) * 1e3
        if not catch_response:
            self._report(answer, facts)
        return answer

    def _report(self, answer: Answer, facts: dict[str, Any]) -> None:
        self._environment.events.request.fire(
            response_length=len(answer.content),
            response=answer,
            exception=answer.error,
            url=self._base,
            **facts,
        )

    def get(self, path: str, **others: Any) -> Answer:
        """Sends a GET request: see `request`."""
        return self.request("GET", path, **others)

    def head(self, path: str, **others: Any) -> Answer:
        """Sends a HEAD request: see `request`."""
        return self.request("HEAD", path, **others)

    def post(self, path: str, **others: Any) -> Answer:
        """Sends a POST request: see `request`."""
        return self.request("POST", path, **others)

    def put(self, path: str, **others: Any) -> Answer:
        """Sends a PUT request: see `request`."""
        return self.request("PUT", path, **others)

    def delete(self, path: str, **others: Any) -> Answer:
        """Sends a DELETE request: see `request`."""
        return self.request("DELETE", path, **others)

    def close(self) -> None:
        """Closes its connections."""
        self._client.close()


class Http3User(User):  # type: ignore[misc, unused-ignore]
    """A user with HTTP/3 connections of its own, which wait in greenlets as Locust wants it."""

    abstract = True
    config: ClassVar[Config | None] = None
    """Settings of connections, such as ``Config(ca="ca.pem")``."""
    timeout: ClassVar[float] = 30.0
    """Seconds that connecting or a response may take."""

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        if not self.host:
            raise LocustError("set host, or give --host: an https URL")
        try:
            Origin.of(self.host)
        except ValueError as error:
            # At the first request it would be nobody's failure, and end the run with a traceback.
            raise LocustError(f"--host: {error}") from None
        self.client = Http3Session(
            environment, self.host, config=self.config, timeout=self.timeout, user=self
        )

    def on_stop(self) -> None:
        """Closes its connections."""
        self.client.close()
