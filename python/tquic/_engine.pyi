from typing import Final, TypedDict, type_check_only

__all__ = ["__version__", "build_info"]

@type_check_only
class _BuildInfo(TypedDict):
    version: str
    debug: bool
    target: str

__version__: Final[str]

def build_info() -> _BuildInfo: ...
