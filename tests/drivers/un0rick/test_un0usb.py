"""The emulated board under software that we did not write: the public `un0usb` package, which uses pyftdi.

Neither knows of sonod; pyftdi is told to use our in-memory bus as its USB backend and does the rest by itself.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from sonod.drivers.emulated.memory import Bus, MemoryBackend
from sonod.drivers.emulated.un0rick import SOUND_SPEED_M_S, EmulatedUn0rick
from sonod.drivers.un0rick.protocol import SAMPLING_HZ, TICK_S

un0usb = pytest.importorskip("un0usb", reason="the package un0usb is not installed (pip install un0usb)")

ADDRESS = "ftdi://ftdi:2232:EMU00001/"


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> Iterator[EmulatedUn0rick]:
    """The emulated board, attached to the bus that pyftdi sees."""
    from pyftdi.usbtools import UsbTools

    bus, board = Bus(), EmulatedUn0rick("EMU00001")
    bus.attach(board)
    backend = MemoryBackend(bus)
    module = ModuleType("un0rick_in_memory")
    module.get_backend = lambda: backend  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(UsbTools, "BACKENDS", (module.__name__,))
    UsbTools.flush_cache()
    yield board
    UsbTools.release_all_devices()
    UsbTools.flush_cache()


@pytest.fixture
def fpga(board: EmulatedUn0rick) -> Iterator[Any]:
    control = un0usb.FpgaControl(ADDRESS, spi_freq=8e6)
    yield control
    control.disconnect()


def test_registers_have_their_documented_values_and_can_be_changed(fpga: Any) -> None:
    fpga.reset()
    assert (fpga.csr.author, fpga.csr.version) == (1, 1)
    assert (fpga.csr.initdel, fpga.csr.ponw, fpga.csr.poffw, fpga.csr.interw) == (0x07, 0x10, 0x80, 0x07)
    fpga.csr.initdel = 0x20
    fpga.csr.dacgain = [200 + index for index in range(32)]
    assert fpga.csr.initdel == 0x20
    assert fpga.csr.dacgain == [200 + index for index in range(32)]


def test_a_logic_reset_keeps_the_gain_table_and_a_reload_restores_it(fpga: Any) -> None:
    fpga.csr.initdel = 0x20
    fpga.csr.dacgain = list(range(32))
    fpga.reset()
    assert fpga.csr.initdel == 0x07
    assert fpga.csr.dacgain == list(range(32))
    fpga.reload()
    assert fpga.csr.dacgain == [0x200] * 32


def test_an_acquisition_shows_the_reflectors_at_their_depths(fpga: Any, board: EmulatedUn0rick) -> None:
    fpga.reload()
    fpga.reset()
    lines = np.array(fpga.do_acquisition(acq_lines=4, gain=[260] * 32, double_rate=True))
    assert lines.shape == (4, 16384)
    assert lines.max() < 1 << 15
    assert [(int(line[0]) >> 10) & 3 for line in lines] == [0, 1, 2, 3]
    volts = np.stack([fpga.line_to_voltage(line) for line in lines])
    delays = np.array([8, 9, 8, 9]) * TICK_S
    for depth_m in (0.012, 0.030, 0.045):
        # The middle of a half-period pulse of 17 ticks.
        due_s = 2 * depth_m / SOUND_SPEED_M_S + 17 * TICK_S / 2
        for line, delay_s in zip(volts, delays, strict=True):
            middle = round((due_s + delay_s) * SAMPLING_HZ)
            peak = middle - 40 + int(np.argmax(np.abs(line[middle - 40 : middle + 40])))
            assert abs(peak - (due_s + delay_s) * SAMPLING_HZ) < 9, "an echo is half a period from where it should be"
    # Lines 0 and 1 see the same echo half a sample apart.
    window = slice(round(2 * 0.045 / SOUND_SPEED_M_S * SAMPLING_HZ) - 60, None)
    shift = _delay_in_samples(volts[0][window][:256], volts[1][window][:256])
    assert shift == pytest.approx(0.5, abs=0.1)


def test_an_acquisition_of_all_lines_is_complete(fpga: Any, board: EmulatedUn0rick) -> None:
    lines = np.array(fpga.do_acquisition(acq_lines=32))
    assert lines.shape == (32, 16384)
    assert ((lines >> 10 & 3) == np.arange(32)[:, None] % 4).all()
    assert ((lines >> 15) == 0).all()
    assert board.acquisitions == 1


def _delay_in_samples(first: Any, second: Any) -> float:
    """How much later the second record shows the same echo, from the phase of their cross spectrum."""
    cross = np.fft.rfft(second) * np.conj(np.fft.rfft(first))
    index = np.arange(len(cross))
    strong = np.abs(cross) > 0.1 * np.abs(cross).max()
    slope = np.sum(index[strong] * np.angle(cross[strong]) * np.abs(cross[strong])) / np.sum(
        index[strong] ** 2 * np.abs(cross[strong])
    )
    return float(-slope * len(first) / (2 * np.pi))
