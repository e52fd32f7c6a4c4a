"""`tquic doctor`: what it finds here, and what it says of machines that we do not have."""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from typing import Any

import pytest

from tquic.cli import main
from tquic.cli.doctor import MEASUREMENTS, PROBES, SCHEMA, files, network, system, udp
from tquic.cli.doctor.finding import LEVELS, Finding, Probe

from .support import document, tquic

linux = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")

PROBE: dict[str, Any] = {
    "gso_max_segments": 64,
    "gro": True,
    "ecn": True,
    "pktinfo": True,
    "dont_fragment": True,
    "recv_buffer": (udp.BUFFER, udp.BUFFER),
    "send_buffer": (udp.BUFFER, udp.BUFFER),
    "sent": 44,
    "send_calls": 1,
    "received": 44,
    "receive_calls": 1,
    "most_in_slot": 44,
    "ecn_kept": True,
    "local_known": True,
}


def test_the_json_document() -> None:
    done = tquic("doctor", "--json")
    assert done.returncode == 0, done.stderr
    result = document(done)
    assert set(result) == {"schema", "ok", "version", "system", "counts", "findings"}
    assert result["schema"] == SCHEMA == "tquic-doctor/1"
    assert result["ok"] is True
    found = result["findings"]
    assert [f["id"] for f in found] == [probe.id for probe in (*PROBES, *MEASUREMENTS)]
    for finding in found:
        assert set(finding) == {"id", "level", "message", "fix", "facts"}
        assert finding["level"] in LEVELS
    for level in LEVELS:
        assert result["counts"][level] == sum(f["level"] == level for f in found)
    facts = {f["id"]: f["facts"] for f in found}
    assert facts["measure.udp"]["received_gbps"] > 0
    assert facts["measure.aead"]["seal_gbps"]["TLS_AES_128_GCM_SHA256"] > 0
    assert facts["udp.sockets"]["sent"] == 44


def test_for_people() -> None:
    done = tquic("doctor", "--no-measure")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1].startswith("tquic works here")
    assert "\x1b" not in done.stdout
    assert "Gbit/s" not in done.stdout
    assert max(map(len, lines)) <= 80


def test_without_measuring_it_asks_the_same_but_for_rates() -> None:
    found = document(tquic("doctor", "--json", "--no-measure"))["findings"]
    assert [f["id"] for f in found] == [probe.id for probe in PROBES]


def test_names_are_unique_and_what_the_probes_say() -> None:
    names = [probe.id for probe in (*PROBES, *MEASUREMENTS)]
    assert len(set(names)) == len(names)
    for probe in PROBES:
        assert probe.run().id == probe.id


def test_a_probe_that_fails_is_a_finding() -> None:
    def ask() -> Finding:
        raise RuntimeError("no such thing")

    finding = Probe("x.y", ask).run()
    assert (finding.id, finding.level) == ("x.y", "note")
    assert "no such thing" in finding.message


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the sockets of an imagined machine do."""
    probe = dict(PROBE)
    monkeypatch.setattr(udp, "_asked", lambda host: probe)
    return probe


@pytest.mark.usefixtures("seen")
def test_a_good_machine_has_good_sockets() -> None:
    for ask in (udp.sockets, udp.gso, udp.gro, udp.ecn, udp.pktinfo, udp.ipv6, udp.buffers):
        assert ask().level == "ok", ask


def test_small_buffers_are_told_with_what_to_type(
    seen: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    seen["recv_buffer"] = (udp.BUFFER, 212_992)
    finding = udp.buffers()
    assert finding.level == "warning"
    assert "208.0 KiB instead of 4.0 MiB" in finding.message
    assert finding.fix is not None
    assert "sudo sysctl -w net.core.rmem_max=4194304" in finding.fix
    assert files.SYSCTL_FILE in finding.fix
    assert "wmem" not in finding.fix
    assert finding.facts["sysctl_d"] == "net.core.rmem_max = 4194304\n"
    seen["send_buffer"] = (udp.BUFFER, 212_992)
    both = udp.buffers()
    assert both.facts["sysctl"] == {"net.core.rmem_max": 4194304, "net.core.wmem_max": 4194304}


@pytest.mark.parametrize(
    ("ask", "change"),
    [
        (udp.gso, {"gso_max_segments": 1, "send_calls": 2}),
        (udp.gro, {"gro": False, "most_in_slot": 1}),
        (udp.ecn, {"ecn_kept": False}),
        (udp.pktinfo, {"local_known": False}),
        (udp.sockets, {"received": 40}),
    ],
)
def test_what_is_missing_is_told_and_keeps_nobody_from_working(
    seen: dict[str, Any], ask: Any, change: dict[str, Any]
) -> None:
    seen |= change
    assert ask().level in ("note", "warning")


def test_no_sockets_at_all(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(host: str, *, socket_buffer: int) -> dict[str, Any]:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(udp, "probe_udp", refused)
    assert main(["doctor", "--no-measure"]) == 1
    out = capsys.readouterr().out
    assert "error    no UDP sockets: Operation not permitted" in out
    assert "1 of 21 findings keep tquic from working" in out
    udp.forget()


def test_what_a_control_group_grants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "cgroup_cpus", lambda: 0.5)
    finding = system.cpus()
    assert finding.level == "warning"
    assert finding.fix is not None
    assert "1 engine threads" in finding.fix
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert system._cpu_max(tmp_path) == 1.5
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert system._cpu_max(tmp_path) is None
    (tmp_path / "cpu.cfs_quota_us").write_text("-1\n")
    (tmp_path / "cpu.cfs_period_us").write_text("100000\n")
    assert system._cpu_quota(tmp_path) is None
    (tmp_path / "cpu.cfs_quota_us").write_text("200000\n")
    assert system._cpu_quota(tmp_path) == 2.0


def test_a_processor_without_aes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "cpu_features", lambda: {"aes": False, "pclmulqdq": True})
    finding = system.crypto()
    assert finding.level == "warning"
    assert finding.fix is not None
    assert "CHACHA20" in finding.fix


def test_a_slow_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"current_clocksource": "hpet", "available_clocksource": "tsc hpet"}
    monkeypatch.setattr(files, "text", lambda path: said[Path(path).name])
    finding = system.clock()
    assert finding.level == "warning"
    assert finding.fix is not None
    assert finding.fix.startswith("echo tsc | sudo tee")


@pytest.mark.parametrize(
    ("release", "level"), [("4.4.0-1-generic", "warning"), ("4.19.5", "warning"), ("6.1.0", "ok")]
)
def test_old_kernels(monkeypatch: pytest.MonkeyPatch, release: str, level: str) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr("platform.release", lambda: release)
    assert system.kernel().level == level


def test_another_system_gets_answers_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(files, "text", lambda path: None)
    for probe in PROBES:
        if not probe.id.startswith("udp."):
            finding = probe.run()
            assert finding.level in ("ok", "note"), finding
            assert "Error" not in finding.message, finding


@linux
@pytest.mark.parametrize("code", [errno.EPERM, errno.EAFNOSUPPORT, errno.ENOMEM])
def test_no_af_xdp(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, "no")

    monkeypatch.setattr("socket.socket", refuse)
    assert network.xdp().level == "note"
