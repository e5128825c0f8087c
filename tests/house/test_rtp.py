"""The measuring phone measures: against Asterisk's own tone, and against itself through Asterisk's echo."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

import cti.demo.callers
from cti.demo.callers import Callers
from tests.rtp import ALAW, TonePhone, alaw_encode, share_of, tone

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartPbx


def test_a_law_keeps_every_code_and_every_loudness() -> None:
    assert all(alaw_encode(value) == code for code, value in enumerate(ALAW))
    assert all(abs(ALAW[alaw_encode(value)] - value) <= max(16, abs(value) / 16) for value in range(-32768, 32768, 7))


def test_a_tone_is_told_from_another() -> None:
    samples = [ALAW[byte] for byte in tone(440, 0.5)]
    assert share_of(440, samples) > 0.95
    assert share_of(1000, samples) < 0.01


@pytest.mark.pbx
async def test_a_caller_hears_asterisks_tone_and_their_own_echo(local_pbx: StartPbx, tmp_path: Path) -> None:
    pbx = await local_pbx(
        extra_dialplan="[callfloor-trunk]\n"
        "exten => tone,1,Answer()\n same => n,Milliwatt()\n"
        "exten => echo,1,Answer()\n same => n,Playtones(1500)\n same => n,Wait(1)\n same => n,StopPlaytones()\n"
        " same => n,Echo()\n"
    )
    callers = Callers(pbx_host=pbx.host, pbx_port=pbx.sip_port, folder=tmp_path)
    async with TonePhone(440) as ear, TonePhone(440) as other:
        await callers.begin("49", "Ada", "tone", stay_s=20, media_port=ear.port)
        await ear.hears(1004)
        await callers.begin("49", "Bea", "echo", stay_s=20, media_port=other.port)
        await other.hears(440)
        assert ear.share_of(440) < 0.1
    await callers.stop()


@pytest.mark.pbx
async def test_a_caller_whose_port_somebody_took_in_the_meantime_comes_in_all_the_same(
    local_pbx: StartPbx, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pbx = await local_pbx(extra_dialplan="[callfloor-trunk]\nexten => tone,1,Answer()\n same => n,Milliwatt()\n")
    callers = Callers(pbx_host=pbx.host, pbx_port=pbx.sip_port, folder=tmp_path)
    free = cti.demo.callers._free_udp_ports
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", free(1)[0] & ~1))
        ports = iter([taken.getsockname()[1]])
        monkeypatch.setattr(
            cti.demo.callers, "_free_udp_ports", lambda count: [port] if (port := next(ports, 0)) else free(count)
        )
        async with TonePhone(440) as ear:
            await callers.begin("49", "Ada", "tone", stay_s=20, media_port=ear.port)
            await ear.hears(1004)
            await callers.stop()
