"""Captures the UDP datagrams of this network namespace's loopback device."""

from __future__ import annotations

import ipaddress
import socket
import struct
import threading
import time
from pathlib import Path

from .dissect import Datagram

ETH_P_ALL = 3
SOL_PACKET, PACKET_STATISTICS, PACKET_VNET_HDR = 263, 6, 15
SO_RCVBUFFORCE = 33
BUFFER = 256 << 20
LONGEST = 1 << 17
ETHERNET = 14
IPV4, IPV6, UDP = 0x0800, 0x86DD, 17
VNET = struct.Struct("<BBHHHH")
GSO_UDP_L4 = 5
PCAP_HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, LONGEST, 101)  # 101: raw IP


class Capture:
    """A thread that keeps every datagram between `with` and its end.

    The virtio header in front of each frame tells how the kernel would cut a train of segments
    (GSO), so trains come out as the datagrams they are.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self._socket.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
        except PermissionError:
            # Root of a user namespace only: as much as the system gives to everybody.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        self._socket.bind(("lo", ETH_P_ALL))
        self._socket.settimeout(0.05)
        self._frames: list[tuple[float, bytes]] = []
        self._stopping = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.dropped = 0

    def __enter__(self) -> Capture:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping = True
        self._thread.join()
        statistics = self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)
        self.dropped = struct.unpack("=II", statistics)[1]
        self._socket.close()

    def _run(self) -> None:
        while True:
            try:
                frame, address = self._socket.recvfrom(LONGEST)
            except TimeoutError:
                if self._stopping:
                    return
                continue
            # Loopback shows every packet twice, going out and coming in.
            if address[2] == socket.PACKET_OUTGOING:
                self._frames.append((time.time(), frame))

    def datagrams(self) -> list[Datagram]:
        """What was captured so far, in order."""
        return [datagram for at, frame in self._frames for datagram in parse(at, frame)]

    def write(self, path: Path) -> None:
        """The capture for Wireshark, one record per datagram."""
        write_pcap(path, self.datagrams())


def write_pcap(path: Path, datagrams: list[Datagram]) -> None:
    """A pcap file of raw IP packets; checksums are left out."""
    with path.open("wb") as file:
        file.write(PCAP_HEADER)
        for datagram in datagrams:
            packet = _packet(datagram)
            seconds, micros = int(datagram.time), int(datagram.time % 1 * 1e6)
            file.write(struct.pack("<IIII", seconds, micros, len(packet), len(packet)) + packet)


def read_pcap(path: Path) -> list[Datagram]:
    """The datagrams of a file that `write_pcap` wrote."""
    data = path.read_bytes()
    datagrams = []
    position = len(PCAP_HEADER)
    while position < len(data):
        seconds, micros, length, _ = struct.unpack_from("<IIII", data, position)
        packet = data[position + 16 : position + 16 + length]
        position += 16 + length
        ether_type = IPV6 if packet[0] >> 4 == 6 else IPV4
        datagrams += _datagrams(seconds + micros / 1e6, ether_type, packet, 0)
    return datagrams


def _packet(datagram: Datagram) -> bytes:
    source, destination = (
        ipaddress.ip_address(host).packed for host in (datagram.source[0], datagram.destination[0])
    )
    length = 8 + len(datagram.data)
    udp = (
        struct.pack("!HHHH", datagram.source[1], datagram.destination[1], length, 0) + datagram.data
    )
    if len(source) == 16:
        return (
            struct.pack("!IHBB", 6 << 28 | datagram.ecn << 20, length, UDP, 64)
            + source
            + destination
            + udp
        )
    header = struct.pack("!BBHHHBBH", 0x45, datagram.ecn, 20 + length, 0, 0x4000, 64, UDP, 0)
    return header + source + destination + udp


def parse(at: float, frame: bytes) -> list[Datagram]:
    """The UDP datagrams of one captured frame; none for other traffic."""
    _, gso_type, _, gso_size, _, _ = VNET.unpack_from(frame)
    (ether_type,) = struct.unpack_from("!H", frame, VNET.size + 12)
    step = gso_size if gso_type == GSO_UDP_L4 else 0
    return _datagrams(at, ether_type, frame[VNET.size + ETHERNET :], step)


def _datagrams(at: float, ether_type: int, packet: bytes, step: int) -> list[Datagram]:
    """The datagrams of an IP packet, cut every `step` bytes unless that is 0."""
    if ether_type == IPV4 and packet[9] == UDP:
        ecn, start = packet[1] & 3, (packet[0] & 0x0F) * 4
        source, destination = packet[12:16], packet[16:20]
    elif ether_type == IPV6 and packet[6] == UDP:
        ecn, start = packet[1] >> 4 & 3, 40
        source, destination = packet[8:24], packet[24:40]
    else:
        return []
    source_port, destination_port = struct.unpack_from("!HH", packet, start)
    payload = packet[start + 8 :]
    step = step or max(len(payload), 1)
    sender = (str(ipaddress.ip_address(source)), source_port)
    receiver = (str(ipaddress.ip_address(destination)), destination_port)
    return [
        Datagram(at, sender, receiver, ecn, payload[i : i + step])
        for i in range(0, len(payload), step)
    ]
