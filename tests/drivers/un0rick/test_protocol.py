"""Bytes of the un0rick, against the verified examples of its fact sheet and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sonod.drivers.settings import Settings
from sonod.drivers.un0rick import protocol
from sonod.drivers.un0rick.plan import Options, gain_codes, make_acquisition, make_plan
from sonod.drivers.un0rick.protocol import (
    Header,
    LineDecoder,
    Pulse,
    Register,
    interleave,
    read_message,
    write_message,
)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (read_message(Register.INITDEL), "00 00 00"),
        (write_message(Register.INITDEL, 0x20), "80 00 00 00 20"),
        (write_message(Register.ACQSTART, 1), "80 00 50 00 01"),
        (read_message(Register.ACQDONE), "00 00 51"),
        (write_message(Register.RAMRADDRRST, 1), "80 00 a1 00 01"),
        (read_message(Register.RAMDATA, 16384), "3f ff a0"),
        (write_message(Register.NBLINES, 0), "80 00 52 00 00"),
        (write_message(Register.PONW, 16), "80 00 01 00 10"),
        (read_message(Register.DACGAIN, 32, increment=True), "40 1f 20"),
    ],
)
def test_messages_are_those_of_the_published_library(message: bytes, expected: str) -> None:
    assert message == bytes.fromhex(expected)


def test_the_gain_table_is_one_incrementing_burst() -> None:
    message = write_message(Register.DACGAIN, *range(200, 232))
    assert message[:3] == bytes.fromhex("c0 1f 20")
    assert message[3:] == b"".join(code.to_bytes(2, "big") for code in range(200, 232))


@pytest.mark.parametrize(
    "header", [Header(True, False, 1, 0), Header(False, True, 32, 0x20), Header(False, False, 16384, 0xA0)]
)
def test_headers_survive_the_way_there_and_back(header: Header) -> None:
    assert Header.decode(header.encode()) == header


@pytest.mark.parametrize(("count", "address"), [(0, 0), (16385, 0), (1, 256), (1, -1)])
def test_impossible_headers_are_refused(count: int, address: int) -> None:
    with pytest.raises(ValueError, match="must be in"):
        Header(False, False, count, address).encode()


def test_a_pulse_is_half_a_period_in_whole_ticks() -> None:
    assert protocol.width_ticks_for(3.75e6) == 17
    pulse = Pulse(8, 17, 8, 129)
    assert pulse.registers == {Register.INITDEL: 7, Register.PONW: 16, Register.INTERW: 7, Register.POFFW: 128}
    assert pulse.frequency_hz == pytest.approx(3.75e6)
    assert pulse.delay_s == pytest.approx(62.7e-9, rel=1e-3)


def test_acquisition_takes_as_long_as_the_sheet_says() -> None:
    assert protocol.acquisition_s(1) == pytest.approx(522e-6, rel=1e-3)
    assert protocol.acquisition_s(32) == pytest.approx(16.5e-3, rel=5e-3)


def test_words_become_samples_and_carry_their_line() -> None:
    decoder, out = LineDecoder(4), np.zeros(4, np.int16)
    words = np.array([0x0000, 0x0200, 0x03FF, 0x7000 | 0x0201], ">u2") | (6 % 4) << 10
    assert decoder.run(words.astype(">u2"), 6, out)
    assert out.tolist() == [-512, 0, 511, 1]
    assert not decoder.run(words.astype(">u2"), 7, out)


def test_a_word_with_its_highest_bit_set_is_no_sample() -> None:
    decoder, out = LineDecoder(2), np.zeros(2, np.int16)
    assert not decoder.run(np.array([0x0200, 0x8200], ">u2"), 0, out)


def test_double_rate_begins_with_the_delayed_line() -> None:
    out = np.zeros(4, np.int16)
    interleave(np.array([1, 3], np.int16), np.array([2, 4], np.int16), out)
    assert out.tolist() == [1, 2, 3, 4]


def test_gain_codes_follow_the_curve_within_what_the_converter_has() -> None:
    flat = gain_codes(Settings(gain_db=20.0), 0.0)
    assert flat == (200,) * 32
    rising = gain_codes(Settings(gain_db=20.0, depth_m=0.19, tgc_db=tuple(10.0 * step for step in range(8))), 0.0)
    assert list(rising) == sorted(rising)
    assert rising[-1] == pytest.approx(900, abs=30)
    assert gain_codes(Settings(gain_db=40.0, tgc_db=(-90.0,) * 8), 0.0) == (0,) * 32
    assert gain_codes(Settings(gain_db=40.0, tgc_db=(90.0,) * 8), 0.0) == (1023,) * 32


def test_a_sweep_is_a_sector_about_its_apex() -> None:
    options = Options(lines=5, sweep_rad=math.radians(60), apex_m=0.02)
    plan = make_plan(options, Settings(depth_m=0.05))
    probe = _probe()
    acquisition = make_acquisition(plan, probe)
    lines = acquisition.lines
    assert lines is not None
    np.testing.assert_allclose(np.degrees(lines.angles_rad), [-30, -15, 0, 15, 30])
    np.testing.assert_allclose(np.linalg.norm(lines.origins_m + np.array([0, 0, 0.02]), axis=1), 0.02)
    np.testing.assert_allclose(lines.origins_m[2], 0, atol=1e-12)
    assert acquisition.shape == (1, 5, plan.samples)
    assert plan.words_of(0) == 16384
    assert plan.words_of(4) == plan.samples


def _probe() -> object:
    from sonod.drivers.probe import Probe

    return Probe.from_positions("one", [[0.0, 0.0, 0.0]], 5e6)
