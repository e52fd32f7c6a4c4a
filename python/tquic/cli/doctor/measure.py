"""Probes that measure for a moment; a busy machine shows less than it can."""

from __future__ import annotations

from tquic._engine import raw_udp_rate, seal_rates
from tquic.cli.doctor.finding import Finding

# Seconds: of sending; and of sealing, for each cipher suite.
UDP_TIME = 0.7
SEAL_TIME = 0.15


def udp_rate() -> Finding:
    """What loopback carries as plain datagrams in trains."""
    try:
        rate = raw_udp_rate(UDP_TIME)
    except OSError as error:
        return Finding(
            "measure.udp", "note", f"no UDP rate can be measured: {error.strerror or error}"
        )
    return Finding(
        "measure.udp",
        "ok",
        f"loopback carries {rate['received_gbps']:.1f} Gbit/s of plain UDP in trains of 44 "
        f"packets of 1472 bytes, {rate['packets_per_send_call']:.0f} per call sent, "
        f"{rate['packets_per_receive_call']:.0f} received",
        facts={"seconds": UDP_TIME, **rate},
    )


def seal_rate() -> Finding:
    """What one thread encrypts."""
    rates = seal_rates(SEAL_TIME)
    known = {name: rate for name, rate in rates.items() if rate is not None}
    first, best = next(iter(known)), max(known, key=lambda name: known[name])
    shown = ", ".join(f"{_short(name)} {rate:.1f}" for name, rate in known.items())
    facts = {"seconds_each": SEAL_TIME, "seal_gbps": known, "preferred": first, "fastest": best}
    message = f"one thread seals, in Gbit/s: {shown}"
    if known[best] > 1.3 * known[first]:
        return Finding(
            "measure.aead",
            "warning",
            f"{message}; {_short(best)} would be faster than {_short(first)}, which is offered "
            "first",
            f'Config(ciphers=("{best}",)) or --cipher, on the server',
            facts,
        )
    return Finding("measure.aead", "ok", message, facts=facts)


def _short(name: str) -> str:
    return name.removeprefix("TLS_").rpartition("_")[0].replace("_", "-")
