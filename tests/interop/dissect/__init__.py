"""Reads captured QUIC traffic: decrypts packets with a key log and says what happened on each connection.

Written apart from the engine under test, so that a mistake there is not repeated here.
"""

from .trace import Connection, Datagram, Packet, Trace

__all__ = ["Connection", "Datagram", "Packet", "Trace"]
