from typing import TypeAlias

_Field: TypeAlias = tuple[bytes, bytes]

def parse_request(
    fields: list[_Field], /, extended_connect: bool
) -> tuple[
    bytes,
    bytes | None,
    bytes | None,
    bytes | None,
    bytes | None,
    list[_Field],
    int | None,
    bytes | None,
]: ...
def parse_response(fields: list[_Field], /) -> tuple[int, list[_Field], int | None]: ...
def check_trailers(fields: list[_Field], /) -> None: ...
