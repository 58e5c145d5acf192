"""The bytes of WULPUS, against packages that the project's own library made."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonod.drivers.errors import DeviceNotFound, ProtocolError
from sonod.drivers.probe_file import load_board
from sonod.drivers.sequence import TransmitKind
from sonod.drivers.wulpus import protocol
from sonod.drivers.wulpus.protocol import Board, Package, Times, TxRx
from sonod.drivers.wulpus.scheme import sequence_of, settings_of

ALL = tuple(range(8))


def test_the_package_of_the_project_s_configuration_file() -> None:
    """All channels in one setting, optimised switching, 13 dB, 50 ms."""
    setting = TxRx(ALL, ALL)
    package = Package(
        settings=(setting,),
        period_s=0.05,
        gain_register=protocol.gain_register(13.0),
        converter_on_us=100,
        times=Times(receive_switch_us=494, sampling_us=509),
        transmit_masks=(protocol.optimised_transmit_mask(setting),),
    )
    assert package.encode() == bytes.fromhex(
        "fa 03 00 66 06 10 55 22 00 10 55 22 00 02 00 00 20 03 29 01 ff ff 55 55 70 0f c4 09 19 00 19 00"
        "f1 09 a9 03 a6 0e"
    ) + bytes(30)


def test_the_package_of_the_library_s_defaults_with_two_settings() -> None:
    package = Package(
        settings=(TxRx((0,), (0,)), TxRx((1,), (1,))),
        period_s=0.321965,
        gain_register=0x36,
        converter_on_us=195300,
    )
    assert package.encode() == bytes.fromhex(
        "fa ff 18 35 29 10 55 22 00 10 55 22 00 02 00 00 20 03 36 02 02 00 01 00 08 00 04 00 a0 0f c4 09 19 00 19 00"
        "d3 09 a9 03 a6 0e"
    ) + bytes(26)


def test_restart_packages() -> None:
    assert protocol.restart_package(Board.WULPUS) == b"\xfb" + bytes(67)
    assert protocol.restart_package(Board.PRO) == b"\xfb" + bytes(72)


def test_the_frame_example_of_the_sheet() -> None:
    samples = np.zeros(400, np.int16)
    samples[:2] = -1, 2047
    frame = protocol.encode_frame(1, 258, samples)
    assert len(frame) == protocol.FRAME_BYTES
    assert frame.startswith(bytes.fromhex("53 54 41 52 54 0a 00 00 00 ff 01 02 01 ff ff ff 07"))
    assert protocol.parse_frame_header(frame) == protocol.FrameHeader(1, 258)


@given(
    st.sampled_from(list(Board)),
    st.integers(1, 8),
    st.floats(0.02, 2.0),
    st.integers(17, 63),
    st.integers(0, 4),
    st.integers(0, 30),
)
def test_the_firmware_reads_what_was_meant(
    board: Board, count: int, period_s: float, gain: int, oversampling: int, pulses: int
) -> None:
    settings = tuple(TxRx((index,), (board.channels - 1 - index,)) for index in range(count))
    package = Package(
        settings=settings,
        board=board,
        period_s=period_s,
        gain_register=gain,
        oversampling=oversampling,
        pulses=pulses,
        converter_on_us=10_000,
    )
    data = package.encode()
    assert len(data) == board.package_bytes
    read = protocol.decode_package(data, board)
    assert read.settings == settings
    assert (read.gain_register, read.oversampling, read.pulses) == (gain, oversampling, pulses)
    assert read.period_s == pytest.approx(period_s, abs=31e-6)
    assert read.times.words() == package.times.words()
    assert read.encode() == data


def test_what_the_firmware_would_misunderstand_is_refused() -> None:
    one = TxRx((0,), (0,))
    for changes, says in (
        ({"settings": ()}, "1..8"),
        ({"settings": (one,) * 9}, "do not fit"),
        ({"period_s": 0.019}, "period_s"),
        ({"pulse_hz": 6e6}, "pulse_hz"),
        ({"pulses": 31}, "pulses"),
        ({"gain_register": 64}, "gain_register"),
    ):
        with pytest.raises(ValueError, match=says):
            Package(**{"settings": (one,), **changes})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"0\.\.7"):
        Package(settings=(TxRx((8,), (0,)),)).encode()
    with pytest.raises(ProtocolError, match="68 bytes"):
        protocol.decode_package(bytes(70), Board.WULPUS)


@given(st.floats(-6.5, 30.8))
def test_the_nearest_gain_is_chosen(gain_db: float) -> None:
    register = protocol.gain_register(gain_db)
    chosen = protocol.GAINS_DB[register - protocol.FIRST_GAIN_REGISTER]
    assert abs(chosen - gain_db) == min(abs(step - gain_db) for step in protocol.GAINS_DB)


def test_gain_registers_at_both_ends() -> None:
    assert (protocol.gain_register(-100), protocol.gain_register(100)) == (17, 63)
    assert len(protocol.GAINS_DB) == 47


# -- schemes -----------------------------------------------------------------------------------------------------------


def test_synthetic_aperture_fires_one_element_after_the_other() -> None:
    probe = load_board("wulpus").probe
    settings = settings_of("synthetic", "", probe, Board.WULPUS)
    _, sequence = sequence_of(settings, probe, 3e-6)
    assert sequence.receive_elements.ravel().tolist() == list(range(8))
    assert [np.flatnonzero(np.isfinite(event.delays_s)).tolist() for event in sequence.events] == [
        [i] for i in range(8)
    ]
    assert {event.t0_s for event in sequence.events} == {3e-6}


def test_plane_fires_all_and_hears_one_after_the_other() -> None:
    probe = load_board("wulpus-pro").probe
    settings = settings_of("plane", "", probe, Board.PRO)
    _, sequence = sequence_of(settings, probe, 3e-6)
    assert {event.kind for event in sequence.events} == {TransmitKind.PLANE}
    heard = sequence.receive_elements.ravel().tolist()
    assert len(heard) == 8
    assert (heard[0], heard[-1]) == (0, 15)
    assert np.isfinite(sequence.delays_s).all()


def test_a_line_is_one_element_in_the_middle_of_those_that_listen() -> None:
    probe = load_board("wulpus").probe
    single, sequence = sequence_of(settings_of("line", "", probe, Board.WULPUS), probe, 3e-6)
    assert single.element_count == sequence.channel_count == 1
    np.testing.assert_allclose(single.element_positions_m, 0, atol=1e-12)


def test_written_shots() -> None:
    probe = load_board("wulpus").probe
    assert settings_of("line", "0-0,0+1-7", probe, Board.WULPUS) == (TxRx((0,), (0,)), TxRx((0, 1), (7,)))
    _, sequence = sequence_of(settings_of("line", "0-0,1-2+3", probe, Board.WULPUS), probe, 0.0)
    # Channels heard together are one sum: no element's echo.
    assert sequence.receive_elements.tolist() == [[0], [-1]]
    for text, says in (
        ("0", "TRANSMIT-RECEIVE"),
        ("0-8", "0..7"),
        ("0-0," * 8 + "0-0", "1..8"),
        ("0+0-1", "different"),
    ):
        with pytest.raises(DeviceNotFound, match=says):
            settings_of("line", text, probe, Board.WULPUS)


def test_more_elements_than_channels_are_refused() -> None:
    with pytest.raises(DeviceNotFound, match="16 elements, the board has 8 channels"):
        settings_of("synthetic", "", load_board("wulpus-pro").probe, Board.WULPUS)
