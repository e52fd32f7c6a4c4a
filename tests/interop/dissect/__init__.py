"""Reads captured QUIC traffic: decrypts it with key logs and says what happened.

Written apart from the engine under test, so that a mistake there is not repeated here.
"""

from .trace import Connection, Datagram, Packet, Trace

__all__ = ["Connection", "Datagram", "Packet", "Trace"]
