"""The un0rick driver against the emulated board: what comes out, and what happens when things go wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from sonod.drivers.emulated.clock import ManualClock
from sonod.drivers.emulated.faults import Faults, OpenFault
from sonod.drivers.emulated.ft2232h import Ft2232h
from sonod.drivers.emulated.memory import Bus, MemoryBackend
from sonod.drivers.emulated.un0rick import SOUND_SPEED_M_S, EmulatedUn0rick
from sonod.drivers.errors import AccessDenied, DeviceNotFound, Disconnected, DriverError, DriverTimeout, ProtocolError
from sonod.drivers.frame import Acquisition, Configuration, Slot
from sonod.drivers.settings import default_settings
from sonod.drivers.un0rick.board import Un0rickBoard
from sonod.drivers.un0rick.driver import Un0rickDriver
from sonod.drivers.un0rick.protocol import Register


@dataclass
class Bench:
    clock: ManualClock
    board: EmulatedUn0rick
    backend: MemoryBackend
    driver: Un0rickDriver

    def run(self, **settings: object) -> Slot:
        """Open, apply and start; the slot for the frames."""
        if self.driver.state == "closed":
            self.driver.open()
        configuration = self.configure(**settings)
        self.driver.apply(configuration)
        self.driver.start()
        return Slot(configuration.acquisition.nbytes)

    def configure(self, **settings: object) -> Configuration:
        usual = default_settings(self.driver.knobs())
        return self.driver.prepare(replace(usual, **settings))  # type: ignore[arg-type]

    def frame(self, slot: Slot) -> NDArray[np.float64]:
        self.driver.read_into(slot, 2.0)
        return slot.data[0].astype(np.float64)


@pytest.fixture
def make() -> Iterator[Callable[..., Bench]]:
    drivers = []

    def build(options: str = "", **board: float) -> Bench:
        clock = ManualClock()
        device = EmulatedUn0rick("EMU00001", clock, **board)
        bus = Bus()
        bus.attach(device)
        backend = MemoryBackend(bus)
        driver = Un0rickDriver(f"un0rick:{options}", clock, backend)
        drivers.append(driver)
        return Bench(clock, device, backend, driver)

    yield build
    for driver in drivers:
        driver.close()


Make = Callable[..., Bench]


def depth_of(trace: NDArray[np.float64], acquisition: Acquisition, near_m: float, reach_m: float) -> float:
    """Depth of the strongest echo within `reach_m` of `near_m`, from the envelope's peak."""
    spectrum = np.fft.fft(trace)
    spectrum[len(trace) // 2 :] = 0
    envelope = np.abs(np.fft.ifft(spectrum))
    first_s = float(acquisition.sequence.t0_s[0]) - acquisition.pulse_delay_s
    depths = (first_s + np.arange(len(trace)) / acquisition.sampling_hz) * SOUND_SPEED_M_S / 2
    inside = np.flatnonzero(np.abs(depths - near_m) < reach_m)
    return float(depths[inside[np.argmax(envelope[inside])]])


# -- what comes out ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", ["", "?double=1", "?lines=4", "?lines=6&double=1", "?delay_s=1e-6"])
def test_reflectors_appear_at_their_depths(make: Make, options: str) -> None:
    bench = make(options)
    slot = bench.run()
    trace = bench.frame(slot)[0]
    assert slot.configuration is not None
    acquisition = slot.configuration.acquisition
    # A tenth of a wavelength at 5 MHz.
    for depth_m in (0.012, 0.030, 0.045):
        assert depth_of(trace, acquisition, depth_m, 1e-3) == pytest.approx(depth_m, abs=31e-6)


def test_the_moving_reflector_is_where_it_is_when_the_board_fires(make: Make) -> None:
    bench = make()
    slot = bench.run()
    for _ in range(12):
        trace = bench.frame(slot)[0]
        assert slot.configuration is not None
        fired_s = (slot.transmit_ns - 1_000_000_000) / 1e9
        _, z = bench.board.scene.moving_at(fired_s)
        seen = depth_of(trace, slot.configuration.acquisition, 0.020, 3.3e-3)
        assert seen == pytest.approx(z, abs=60e-6)
        bench.clock.advance(0.13)


def test_summing_lines_lowers_the_noise(make: Make) -> None:
    noise = []
    for lines in (1, 16):
        bench = make(f"?lines={lines}")
        slot = bench.run(depth_m=0.19, gain_db=50.0)
        first = bench.frame(slot)[0]
        assert slot.configuration is not None
        scale = slot.configuration.acquisition.sample_scale
        noise.append(float(np.std((bench.frame(slot)[0] - first)[-4000:])) * scale)
    assert noise[0] / noise[1] == pytest.approx(4.0, rel=0.15)


def test_settings_reach_the_registers(make: Make) -> None:
    bench = make("?lines=2")
    bench.run(transmit_frequency_hz=3.75e6, gain_db=10.0, tgc_db=(0.0,) * 8)
    assert bench.board._registers[Register.PONW] == 17 - 1
    assert bench.board._registers[Register.NBLINES] == 1
    assert bench.board._gains == [100] * 32


def test_the_frequency_of_the_pulse_is_that_of_the_echoes(make: Make) -> None:
    centres = []
    for hertz in (3e6, 8e6):
        bench = make()
        slot = bench.run(transmit_frequency_hz=hertz)
        trace = bench.frame(slot)[0][600:]
        power = np.abs(np.fft.rfft(trace)) ** 2
        centres.append(float(np.sum(np.fft.rfftfreq(len(trace), 1 / 63.75e6) * power) / np.sum(power)))
    assert centres[0] < 4.7e6 < 5.3e6 < centres[1]


def test_a_shallow_picture_reads_fewer_words(make: Make) -> None:
    bench = make()
    bench.run()
    shallow, deep = bench.configure(depth_m=0.01), bench.configure(depth_m=0.15)
    assert shallow.acquisition.shape[2] < deep.acquisition.shape[2] / 8


def test_a_sweep_shows_a_reflector_at_its_angle(make: Make) -> None:
    bench = make("?lines=31&sweep_rad=1.0&apex_m=0.01", sweep_rad=1.0, apex_m=0.01)
    slot = bench.run()
    lines = bench.frame(slot)
    assert slot.configuration is not None
    geometry = slot.configuration.acquisition.lines
    assert geometry is not None
    place = np.array([-0.6 * np.sin(0.5) * 0.04, 0.04])
    distance = np.hypot(place[0], place[1] + 0.01) - 0.01
    sample = round((distance - geometry.first_m) / geometry.spacing_m)
    # There is another to the right; look among the lines to the left.
    strongest = int(np.argmax(np.abs(lines[:15, sample - 30 : sample + 30]).max(axis=1)))
    assert geometry.angles_rad[strongest] == pytest.approx(np.arctan2(place[0], place[1] + 0.01), abs=0.02)


# -- firing --------------------------------------------------------------------------------------------------------


def test_nothing_fires_before_start_and_after_stop_freeze_or_close(make: Make) -> None:
    bench = make()
    bench.driver.open()
    configuration = bench.configure()
    bench.driver.apply(configuration)
    assert bench.board.acquisitions == 0
    slot = bench.run()
    bench.frame(slot)
    bench.driver.stop()
    assert not bench.board.firing
    fired = bench.board.acquisitions
    bench.driver.apply(bench.configure(depth_m=0.03))
    bench.driver.close()
    assert bench.board.acquisitions == fired


def test_stop_ends_an_acquisition_under_way(make: Make) -> None:
    bench = make("?lines=32")
    slot = bench.run()
    with pytest.raises(DriverTimeout):
        bench.driver.read_into(slot, 0.0)
    assert bench.board.firing
    bench.driver.stop()
    assert not bench.board.firing


def test_an_unarmed_board_refuses_to_fire(make: Make) -> None:
    bench = make()
    bench.driver.open()
    board = bench.driver._un0rick
    assert isinstance(board, Un0rickBoard)
    with pytest.raises(DriverError, match="not armed"):
        board.fire()
    assert bench.board.acquisitions == 0


def test_the_monitor_jumper_is_named(make: Make) -> None:
    bench = make()
    bench.board.jumper2 = 1
    with pytest.raises(DriverError, match="jumper 2"):
        bench.run()
    assert bench.board.acquisitions == 0


# -- faults --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "lost"),
    [
        ({"corrupt_frames": 1}, 1),
        ({"corrupt_frames": 3}, 3),
        ({"bus_errors": 1}, 1),
        ({"oversize": 1}, 1),
        ({"halt": {0x83}}, 1),
        ({"garbage_bytes": 512}, 1),
        ({"zero_packets": 3}, 0),
    ],
    ids=lambda value: str(value),
)
def test_a_disturbance_costs_the_acquisitions_it_hits_and_they_are_counted(
    make: Make, fault: dict[str, object], lost: int
) -> None:
    bench = make()
    slot = bench.run()
    bench.frame(slot)
    for name, value in fault.items():
        setattr(bench.board.faults, name, value)
    trace = bench.frame(slot)[0]
    assert (slot.lost, slot.number) == (lost, 2 + lost)
    assert bench.driver.counters.lost == lost
    assert slot.configuration is not None
    assert depth_of(trace, slot.configuration.acquisition, 0.012, 1e-3) == pytest.approx(0.012, abs=31e-6)


def test_a_short_packet_is_a_timeout_and_the_loss_is_counted_with_the_next_frame(make: Make) -> None:
    bench = make()
    slot = bench.run()
    bench.frame(slot)
    assert bench.driver._un0rick is not None
    # The first answer after it is that to "done?", of two bytes; the cut must hit the samples.
    bench.driver._fire()
    bench.driver._wait_until_done(bench.clock.now_ns() + 10**9)
    bench.board.faults.short_packets = 1
    with pytest.raises(DriverTimeout):
        bench.driver.read_into(slot, 2.0)
    bench.frame(slot)
    assert slot.lost == 1
    assert bench.driver.counters.timeouts == 1


def test_reads_that_always_slip_are_a_protocol_error(make: Make) -> None:
    bench = make()
    slot = bench.run()
    bench.board.faults.corrupt_frames = 1000
    with pytest.raises(ProtocolError, match="bits have slipped"):
        bench.driver.read_into(slot, 5.0)


def test_an_acquisition_that_never_ends_is_a_protocol_error(make: Make) -> None:
    bench = make()
    slot = bench.run()
    bench.board.faults.drop_frames = 1
    with pytest.raises(ProtocolError, match="does not end"):
        bench.driver.read_into(slot, 5.0)
    bench.frame(slot)
    assert slot.lost == 1


def test_unplugged_in_the_middle_of_a_frame(make: Make) -> None:
    bench = make()
    slot = bench.run()
    bench.frame(slot)
    bench.board.faults.unplug_after_bytes = 3000
    with pytest.raises(Disconnected):
        bench.driver.read_into(slot, 2.0)
    bench.driver.close()
    assert bench.backend.open_handles == 0


def test_a_device_of_the_same_id_that_is_no_un0rick_is_refused(make: Make) -> None:
    class Other(Ft2232h):
        """Another board with the same chip: nothing answers on its pins."""

        def pins_changed(self, channel: int, levels: int, driven: int, at_ns: int) -> None:
            pass

        def spi(self, data: bytes, at_ns: int) -> bytes:
            return b"\xff" * len(data)

    clock, bus = ManualClock(), Bus()
    bus.attach(Other(clock=clock))
    backend = MemoryBackend(bus)
    driver = Un0rickDriver("un0rick:", clock, backend)
    with pytest.raises(ProtocolError, match="AUTHOR and VERSION read 0xffff"):
        driver.open()
    assert backend.open_handles == 0


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        (OpenFault.ACCESS, AccessDenied, "udev"),
        (OpenFault.BUSY, AccessDenied, "another program"),
        (OpenFault.MEMORY, DriverError, "usbfs_memory_mb"),
    ],
)
def test_refusals_of_the_host_are_told_apart(
    make: Make, fault: OpenFault, error: type[DriverError], words: str
) -> None:
    bench = make()
    bench.board.faults.open_fault = fault
    with pytest.raises(error, match=words):
        bench.driver.open()
    assert bench.backend.open_handles == 0


def test_a_serial_number_chooses_between_boards(make: Make) -> None:
    clock, bus = ManualClock(), Bus()
    for serial in ("A1", "B2"):
        bus.attach(EmulatedUn0rick(serial, clock))
    driver = Un0rickDriver("un0rick:B2", clock, MemoryBackend(bus))
    driver.open()
    assert driver.serial == "B2"
    driver.close()
    with pytest.raises(DeviceNotFound, match="A1, B2"):
        Un0rickDriver("un0rick:", clock, MemoryBackend(bus)).open()


def test_two_hundred_unpluggings_leave_nothing_behind(make: Make) -> None:
    bench = make()
    for _ in range(200):
        slot = bench.run(depth_m=0.005)
        bench.driver.read_into(slot, 2.0)
        bench.board.unplug()
        with pytest.raises(Disconnected):
            bench.driver.read_into(slot, 2.0)
        bench.driver.close()
        bench.board.plug()
    assert bench.backend.open_handles == 0
    assert bench.board.faults == Faults()


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("un0rick:?lines=33", "lines must be a whole number in 1..32"),
        ("un0rick:?double=1&lines=3", "lines must be even"),
        ("un0rick:?double=1&lines=4&sweep_rad=1", "leave out sweep_rad"),
        ("un0rick:?sweep_rad=1", "needs lines >= 2"),
        ("un0rick:?gap_s=1", "gap_s must be a number"),
        ("un0rick:?speed=1", "unknown option speed"),
    ],
)
def test_a_wrong_uri_is_refused_with_the_reason(uri: str, words: str) -> None:
    with pytest.raises(DeviceNotFound, match=words):
        Un0rickDriver(uri)
