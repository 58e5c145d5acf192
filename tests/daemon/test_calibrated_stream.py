"""A calibration against what the pictures show: wires at known places, seen at one depth setting after the other."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from daemon_bench import PATIENCE_S

from sonod.client.calibration import CalibrationState, bind
from sonod.client.control import Control
from sonod.client.conventions.matrices import as_array, as_matrix
from sonod.client.subscriber import Subscriber
from sonod.client.wire.geometry import ImageGeometry
from sonod.daemon.app import Daemon
from sonod.drivers.simulated.scene_file import load_scene

# A wire's image is a fraction of a millimetre, a wrong scale moves the deep ones by more.
NEAR_M = 0.4e-3
BRIGHT = 128
# From a place on the probe (x, y, z, 1) to one in the tracker's frame: turned, and somewhere else.
TO_MARKER = np.array([[0.0, -1.0, 0.0, 0.1], [0.8, 0.0, -0.6, -0.2], [0.6, 0.0, 0.8, 0.3], [0.0, 0.0, 0.0, 1.0]])
DEPTHS_M = np.random.default_rng(7).uniform(0.016, 0.045, 6).round(3)


def bright_spots(picture: Any) -> list[tuple[float, float]]:
    """(row, column) of each local maximum that is bright, away from the edges."""
    spots = []
    for row, column in np.argwhere(picture >= BRIGHT):
        around = picture[max(row - 8, 0) : row + 9, max(column - 8, 0) : column + 9]
        if around.shape == (17, 17) and around.max() == picture[row, column]:
            spots.append((float(row), float(column)))
    return spots


def test_calibrated_pictures_show_the_wires_where_the_tracker_has_them(make_daemon: Callable[..., Daemon]) -> None:
    """While the depth changes: every bright spot of every frame, taken into the tracker's frame by what the calibration
    gives for that frame, lies where a wire truly is."""
    wires = np.array([point.at_m for point in load_scene("wires").points])
    truly = (TO_MARKER @ np.array([[x, 0.0, z, 1.0] for x, z in wires]).T)[:3].T
    daemon = make_daemon(driver={"uri": "sim:wires?probe=linear"}, acquire={"waiting_frames": 4})
    daemon.start()
    done = threading.Event()
    with Control(daemon.addresses.control, 60) as control, Subscriber(daemon.addresses.frames[0]) as subscriber:
        applied = control.set({"angle_count": 7, "frame_rate_hz": 20.0, "dynamic_range_db": 30.0, "gain_db": -20.0})
        frames = subscriber.frames("bmode", timeout_s=PATIENCE_S)
        # With the gain of before, side lobes are as bright as wires.
        first = next(frame for frame in frames if frame.header.revision >= applied.revision)
        made = first.header.geometry
        assert isinstance(made, ImageGeometry)
        calibration = bind("wires", "Marker", as_matrix(TO_MARKER @ as_array(made.image_to_transducer)), first.header)

        def change() -> None:
            for depth_m in DEPTHS_M:
                control.set({"depth_m": float(depth_m)})
            done.set()

        changer = threading.Thread(target=change)
        changer.start()
        seen: dict[str, int] = {}
        states = set()
        while not (done.is_set() and len(seen) > len(DEPTHS_M) // 2):
            frame = next(frames)
            judged = calibration.judge(frame.header)
            states.add(judged.state)
            assert judged.image_to_target is not None
            spots = bright_spots(frame.data)
            places = [as_array(judged.image_to_target) @ np.array([column, row, 0.0, 1.0]) for row, column in spots]
            for place in places:
                assert np.linalg.norm(truly - place[:3], axis=1).min() < NEAR_M, frame.header.settings["depth_m"]
            seen[frame.header.geometry.fingerprint] = len(spots)
        changer.join()
    assert states <= {CalibrationState.VALID, CalibrationState.RESCALED}
    assert CalibrationState.RESCALED in states
    assert min(seen.values()) >= 3, seen
