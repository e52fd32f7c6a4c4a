"""The exception of HTTP/3 and its codes."""

import copy
import pickle

from tquic.h3 import ErrorCode, FieldSectionTooLarge, H3Error, RequestFailed


def test_an_error_names_its_code_and_its_reason() -> None:
    error = H3Error(ErrorCode.H3_FRAME_ERROR, "too short")
    assert str(error) == "H3_FRAME_ERROR (0x0106): too short"


def test_an_error_survives_copying_and_pickling() -> None:
    for kind in (H3Error, FieldSectionTooLarge):
        error = kind(ErrorCode.H3_ID_ERROR, "reused")
        for other in (copy.copy(error), pickle.loads(pickle.dumps(error))):
            assert type(other) is kind
            assert (other.code, other.reason) == (error.code, error.reason)


def test_codes_are_those_of_the_rfc() -> None:
    # RFC 9114 section 8.1: 17 codes, numbered without a gap; RFC 9204 section 6: three more; RFC
    # 9297 section 5.2: one.
    codes = [0x33, *range(0x100, 0x111), 0x200, 0x201, 0x202]
    assert [code.value for code in ErrorCode] == codes


def test_a_failed_request_survives_copying_and_pickling() -> None:
    for code, unprocessed in ((ErrorCode.H3_REQUEST_REJECTED, True), (0x10C, False), (77, False)):
        error = RequestFailed(code, "because", by="peer")
        for other in (error, copy.copy(error), pickle.loads(pickle.dumps(error))):
            assert (other.code, other.reason, other.by) == (code, "because", "peer")
            assert other.unprocessed is unprocessed
    assert RequestFailed(0x10C).code_name == "H3_REQUEST_CANCELLED"
    assert RequestFailed(77).code_name == "0x4d"
