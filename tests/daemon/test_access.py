"""Who is let in from other machines, and what they may do: real sockets, real keys."""

from __future__ import annotations

import io
import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zmq
from daemon_bench import PATIENCE_S, Bench
from sonod_command import sonod

from sonod.client.control import AsyncControl, Control
from sonod.client.errors import AccessRefused, NoAnswer, RequestRefused
from sonod.client.frame import Frame
from sonod.client.keys import ClientKeys, KeyFileError, Pair
from sonod.client.latest import LatestFrames
from sonod.client.lease import HeldLease
from sonod.client.subscriber import AsyncSubscriber, Subscriber
from sonod.daemon.config import parse_config
from sonod.daemon.connections import CONNECTIONS_PER_KEY
from sonod.daemon.errors import ConfigError, EndpointError
from sonod.daemon.keyring import Gate

Start = Callable[..., Bench]


def address(endpoint: str) -> str:
    """Where this machine reaches an address of all machines."""
    return endpoint.replace("0.0.0.0", "127.0.0.1")


def refusal_of(ask: Callable[[], object]) -> str:
    """Why the daemon said no, or nothing; '' when it did what was asked."""
    try:
        ask()
    except (RequestRefused, AccessRefused, NoAnswer) as error:
        return str(error)
    return ""


class Keyed:
    """A daemon that other machines reach with keys, and this one without."""

    def __init__(self, start: Start, folder: Path, **sections: dict[str, Any]) -> None:
        self.folder = folder / "keys"
        self.files = folder
        assert sonod("keys", "server", "--folder", str(self.folder)).returncode == 0
        self.bench = start(
            publish={"also": ["tcp://0.0.0.0:*"]},
            control={"also": ["tcp://0.0.0.0:*"]},
            access={"keys": str(self.folder)},
            **sections,
        )
        self.frames = address(self.bench.daemon.addresses.frames[1])
        self.control = address(self.bench.daemon.addresses.controls[1])

    def new(self, name: str, role: str) -> ClientKeys:
        file = self.files / f"{name}.key"
        result = sonod("keys", "new", name, "--role", role, "--out", str(file), "--folder", str(self.folder))
        assert result.returncode == 0, result.stderr
        return ClientKeys.read(file)

    def revoke(self, name: str) -> None:
        assert sonod("keys", "revoke", name, "--folder", str(self.folder)).returncode == 0

    def admitted(self, keys: ClientKeys) -> Control:
        """A client whose key the daemon has noticed."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            control = Control(self.control, PATIENCE_S, keys=keys)
            try:
                control.status()
            except AccessRefused:
                control.close()
                assert time.monotonic() < deadline
                time.sleep(0.05)
            else:
                return control


@pytest.fixture
def keyed(start: Start, tmp_path: Path) -> Keyed:
    return Keyed(start, tmp_path)


def test_a_viewer_receives_and_reads_but_changes_nothing(keyed: Keyed) -> None:
    keys = keyed.new("tablet", "view")
    with keyed.admitted(keys) as control:
        before = control.get()
        refused = [
            lambda: control.set({"gain_db": 3}),
            lambda: control.preset("needle"),
            lambda: control.load("[settings]\ngain_db = 1"),
            lambda: control.freeze(),
            lambda: control.stop(),
            lambda: control.start_recording("/tmp/x.h5"),
            lambda: control.clip(path="/tmp/x"),
            lambda: control.mark("pre"),
            lambda: control.acquire_lease("tablet"),
            lambda: control.take_over_lease("tablet"),
        ]
        for ask in refused:
            with pytest.raises(RequestRefused, match=r"needs the role (record|control); the key of 'tablet'") as caught:
                ask()
            assert caught.value.code == "forbidden"
        assert control.get() == before
        assert control.lease().holder is None
    with Subscriber(keyed.frames, keys=keys) as subscriber:
        messages = subscriber.messages("bmode", "state", timeout_s=PATIENCE_S)
        next(messages)
        keyed.bench.driver.deliver()
        assert any(isinstance(message, Frame) for message in messages)


def test_control_role_may_do_everything_but_write_files_anywhere(start: Start, tmp_path: Path) -> None:
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    keyed = Keyed(start, tmp_path, record={"folder": str(recordings)})
    keys = keyed.new("tracker", "control")
    with keyed.admitted(keys) as control, HeldLease("tracker", keyed.control, keys=keys) as lease:
        control.freeze()
        assert control.set({"output_level": 0.1}, lease=lease.token).revision == 1
        for path in (tmp_path / "x.h5", recordings / ".." / "x.h5"):
            with pytest.raises(RequestRefused, match="record: path: with a key only into") as caught:
                control.start_recording(str(path))
            assert caught.value.code == "forbidden"
        assert control.start_recording(str(recordings / "x.h5"))
        control.stop_recording()


def test_record_role_may_mark_and_save_clips_into_the_folder_only(start: Start, tmp_path: Path) -> None:
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    keyed = Keyed(start, tmp_path, record={"folder": str(recordings)})
    keyed.bench.driver.deliver()
    while keyed.bench.control.status().cine.rf_frames < 1:
        pass
    with keyed.admitted(keyed.new("lab", "record")) as control:
        assert control.mark("pre", site="knee").frame == 1
        with pytest.raises(RequestRefused, match="clip: path: with a key only into"):
            control.clip(1.0, 0.0, str(tmp_path / "elsewhere"))
        assert Path(control.clip(1.0, 0.0).path).parent == recordings
        while control.status().clip.active:
            pass


def test_recording_with_a_key_needs_a_folder(keyed: Keyed) -> None:
    with keyed.admitted(keyed.new("lab", "record")) as control:
        with pytest.raises(RequestRefused, match=r"record.folder, which is not configured"):
            control.start_recording("/tmp/x.h5")
        with pytest.raises(RequestRefused, match="set: needs the role control; the key of 'lab' has the role record"):
            control.set({"gain_db": 1})


def test_no_key_and_wrong_keys_are_told_at_once(keyed: Keyed) -> None:
    good = keyed.new("tablet", "view")
    keyed.admitted(good).close()
    stranger = Pair.make()
    unknown = ClientKeys("stranger", stranger.public, stranger.secret, good.server, "stranger.key")
    # Knows the public key of somebody admitted, but not the secret one.
    thief = ClientKeys("thief", good.public, stranger.secret, good.server, "thief.key")
    misled = ClientKeys("tablet", good.public, good.secret, stranger.public, "old.key")
    for keys, line in (
        (None, "the daemon wants a key here; `sonod keys new NAME`"),
        (unknown, r"does not admit the key of 'stranger' \(stranger.key\); it is unknown or revoked"),
        (thief, "the daemon's key is not the one in thief.key"),
        (misled, "the daemon's key is not the one in old.key"),
    ):
        with Control(keyed.control, 60, keys=keys) as control, pytest.raises(AccessRefused, match=line):
            control.status()
        with Subscriber(keyed.frames, keys=keys) as subscriber, pytest.raises(AccessRefused, match=line):
            next(subscriber.messages("state", timeout_s=60))
    with Control(keyed.bench.daemon.addresses.control, 60, keys=good) as control, pytest.raises(AccessRefused) as told:
        control.status()
    assert "takes no keys here" in str(told.value)


async def _asynchronously(keyed: Keyed, keys: ClientKeys | None) -> None:
    async with AsyncControl(keyed.control, 60, keys=keys) as control:
        await control.status()
    async with AsyncSubscriber(keyed.frames, keys=keys) as subscriber:
        async for _ in subscriber.messages("state", timeout_s=60):
            return


def test_asyncio_clients_use_keys_and_are_told_as_well(keyed: Keyed) -> None:
    import asyncio

    keys = keyed.new("tablet", "view")
    keyed.admitted(keys).close()
    asyncio.run(_asynchronously(keyed, keys))
    with pytest.raises(AccessRefused, match="wants a key here"):
        asyncio.run(_asynchronously(keyed, None))


def test_revoked_key_is_cut_from_frames_and_requests_of_a_running_daemon(keyed: Keyed) -> None:
    revoked, other = keyed.new("lost", "control"), keyed.new("tablet", "view")
    control, witness = keyed.admitted(revoked), keyed.admitted(other)
    lost, kept = Subscriber(keyed.frames, keys=revoked), Subscriber(keyed.frames, keys=other)
    with control, witness, lost, kept:
        receiving, continuing = lost.messages("state", timeout_s=60), kept.messages("state", timeout_s=60)
        next(receiving)
        next(continuing)
        token = control.acquire_lease("lost", 3600).token
        assert token
        event = keyed.bench.event("lease_expired", lambda: keyed.revoke("lost"))
        assert event.facts == {"holder": "lost", "cause": "revoked"}
        # The stream ends: what is left in the socket, then the refusal.
        with pytest.raises(AccessRefused, match="unknown or revoked"):
            for _ in receiving:
                pass
        with pytest.raises((AccessRefused, NoAnswer, RequestRefused)):
            control.set({"gain_db": 5})
        with Control(keyed.control, 60, keys=revoked) as again, pytest.raises(AccessRefused):
            again.status()
        # Nobody else notices.
        next(continuing)
        assert witness.get(["gain_db"]).settings == {"gain_db": 0.0}
    keyed.bench.until_state("frozen")


def test_role_that_was_changed_holds_for_connections_that_stand(keyed: Keyed) -> None:
    keys = keyed.new("tablet", "control")
    with keyed.admitted(keys) as control:
        # Frozen, so that no reply waits for a frame.
        control.freeze()
        control.set({"gain_db": 1})
        file = keyed.folder / "allowed.toml"
        file.write_text(file.read_text().replace('"control"', '"view"'))
        refusals = (refusal_of(lambda: control.set({"gain_db": 1})) for _ in range(10_000))
        assert "has the role view" in next(filter(None, refusals))


def test_list_that_cannot_be_read_leaves_the_former_in_force(keyed: Keyed, log: io.StringIO) -> None:
    keys = keyed.new("tablet", "view")
    with keyed.admitted(keys) as control:
        (keyed.folder / "allowed.toml").write_text("[tablet\n")
        deadline = time.monotonic() + PATIENCE_S
        while "keys_unusable" not in log.getvalue():
            assert time.monotonic() < deadline
            control.status()
    with Control(keyed.control, PATIENCE_S, keys=keys) as control:
        control.status()


def test_programs_of_one_key_are_limited(keyed: Keyed) -> None:
    keys = keyed.new("tablet", "view")
    keyed.admitted(keys).close()
    clients = [Control(keyed.control, PATIENCE_S, keys=keys) for _ in range(CONNECTIONS_PER_KEY + 1)]
    try:
        for client in clients[:-1]:
            client.status()
        clients[-1].timeout_s = 1.0
        # Let in, known by its first request, and cut.
        refusals = (refusal_of(clients[-1].status) for _ in range(3))
        assert any(refusals)
        clients[0].status()
    finally:
        for client in clients:
            client.close()


def test_connections_beyond_the_limit_are_cut_and_the_others_stay(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sonod.daemon.control.CONNECTIONS", 8)
    bench = start()
    bench.control.status()
    host, port = bench.daemon.addresses.control.removeprefix("tcp://").split(":")
    crowd = [socket.create_connection((host, int(port)), timeout=PATIENCE_S) for _ in range(20)]
    try:
        ended = 0
        for one in crowd:
            one.settimeout(0.1)
            try:
                # A greeting for those who stay, the end for those who do not.
                while one.recv(256):
                    pass
                ended += 1
            except ConnectionError:
                ended += 1
            except TimeoutError:
                pass
        assert ended >= 20 - 8
        assert bench.control.status().state == "running"
    finally:
        for one in crowd:
            one.close()
    deadline = time.monotonic() + PATIENCE_S
    while True:
        with Control(bench.daemon.addresses.control, 1.0) as control:
            try:
                control.status()
                break
            except NoAnswer:
                assert time.monotonic() < deadline


def test_keys_everywhere_but_for_ipc(start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    assert sonod("keys", "new", "me", "--out", str(tmp_path / "me.key"), "--folder", str(folder)).returncode == 0
    bench = start(
        access={"keys": str(folder), "everywhere": True},
        control={"endpoint": f"ipc://{tmp_path}/run/control", "also": ["tcp://127.0.0.1:*"]},
    )
    assert bench.control.status().state == "running"
    assert (tmp_path / "run").stat().st_mode & 0o777 == 0o750
    loopback = bench.daemon.addresses.controls[1]
    with Control(loopback, 60) as control, pytest.raises(AccessRefused, match="wants a key"):
        control.status()
    with Control(loopback, PATIENCE_S, keys=tmp_path / "me.key") as control:
        assert control.status().state == "running"


@pytest.mark.parametrize(
    ("sections", "line"),
    [
        (
            {"publish": {"endpoint": "tcp://0.0.0.0:5555"}, "viewer": {"enabled": False}},
            r"publish.endpoint: tcp://0.0.0.0:5555 can be reached from other machines, which needs keys: make them "
            r"with `sonod keys new NAME --role view`, and name their folder in access.keys",
        ),
        ({"control": {"also": ["tcp://[::]:5556"]}}, r"control.also: tcp://\[::\]:5556 can be reached"),
        ({"access": {"everywhere": True}}, r"access.everywhere: needs the folder of keys"),
        (
            {"access": {"keys": "/k"}, "publish": {"endpoint": "tcp://10.0.0.1:5555"}},
            r"viewer.keys: the viewer page needs a key, for publish has no address without",
        ),
        ({"publish": {"latest": "tcp://0.0.0.0:5557"}}, r"publish.latest: tcp://0.0.0.0:5557 can be reached"),
        ({"publish": {"endpoint": "ipc://frames"}}, r"publish.endpoint: must be ipc:// and an absolute path"),
        ({"publish": {"endpoint": "ipc:///" + 120 * "x"}}, r"the path may have 107 bytes at most"),
        ({"publish": {"endpoint": "udp://127.0.0.1:5555"}}, r"must be tcp://HOST:PORT or ipc:///PATH"),
    ],
)
def test_addresses_that_cannot_be_used_are_refused_with_the_remedy(sections: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigError, match=line):
        parse_config(sections)


def test_daemon_does_not_start_without_its_own_keys(make_daemon: Callable[..., Any], tmp_path: Path) -> None:
    sections = {"publish": {"also": ["tcp://0.0.0.0:*"]}, "access": {"keys": str(tmp_path)}}
    with pytest.raises(ConfigError, match=r"server.key: cannot be read .*make it with `sonod keys server`"):
        make_daemon(**sections)
    sonod("keys", "server", "--folder", str(tmp_path))
    (tmp_path / "server.key").chmod(0o644)
    with pytest.raises(ConfigError, match=r"others can read this secret \(mode 0644\); run: chmod 600"):
        make_daemon(**sections)


def test_ipc_socket_needs_a_folder_closed_to_others(make_daemon: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o755)
    with pytest.raises(EndpointError, match=r"open to others \(mode 0755\).*chmod 0750"):
        make_daemon(publish={"endpoint": f"ipc://{tmp_path}/open/frames"})


class TestKeysCommand:
    """`sonod keys` as people type it."""

    def test_makes_lists_and_revokes(self, tmp_path: Path) -> None:
        folder, file = ("--folder", str(tmp_path / "keys")), tmp_path / "tablet.key"
        made = sonod("keys", "new", "tablet", "--out", str(file), *folder)
        assert "role view" in made.stdout
        assert "carry it to the client" in made.stdout
        assert file.stat().st_mode & 0o777 == 0o600
        assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700
        assert ClientKeys.read(file).server == sonod("keys", "server", *folder).stdout.strip()
        own = Pair.make().public
        assert "public key" in sonod("keys", "new", "own", "--public", own, "--role", "control", *folder).stdout
        listed = json.loads(sonod("keys", "list", "--json", *folder).stdout)
        assert [(each["name"], each["role"], each["revoked"]) for each in listed] == [
            ("tablet", "view", None),
            ("own", "control", None),
        ]
        gate = Gate(tmp_path / "keys")
        assert gate.admitted == 2
        sonod("keys", "revoke", "tablet", *folder)
        assert gate.refresh()
        assert not gate.refresh()
        assert gate.permit(own) is not None
        assert gate.admitted == 1
        assert "already" in sonod("keys", "revoke", "tablet", *folder).stdout
        # A name may get a new key; the old one stays worthless.
        assert sonod("keys", "new", "tablet", "--out", str(tmp_path / "b.key"), *folder).returncode == 0
        gate.refresh()
        assert gate.permit(ClientKeys.read(file).public) is None
        assert gate.permit(ClientKeys.read(tmp_path / "b.key").public) is not None

    @pytest.mark.parametrize(
        ("arguments", "line"),
        [
            (("new", "a b"), "NAME: must be 1 to 64 letters, digits, - and _; got 'a b'"),
            (("new", "x", "--role", "admin"), "--role: must be view, record or control; got 'admin'"),
            (("new", "x", "--public", "short"), "--public: must be a key of 40 characters; got 'short'"),
            (("new", "tablet"), "tablet: has a key already; revoke it first: sonod keys revoke tablet --folder "),
            (("new", "x", "--out", "/nowhere/x.key"), "/nowhere/x.key: cannot be written"),
            (("revoke", "tablte"), "tablte: has no key in .*; did you mean tablet"),
        ],
    )
    def test_wrong_arguments_get_one_line(self, tmp_path: Path, arguments: tuple[str, ...], line: str) -> None:
        import re

        folder = ("--folder", str(tmp_path / "keys"))
        sonod("keys", "new", "tablet", "--out", str(tmp_path / "t.key"), *folder)
        result = sonod("keys", *arguments, *folder)
        assert result.returncode == 2
        assert len(result.stderr.splitlines()) == 1
        assert re.search(line, result.stderr), result.stderr
        assert json.loads(sonod("keys", "list", "--json", *folder).stdout)[0]["name"] == "tablet"

    @pytest.mark.parametrize(
        ("text", "mode", "line"),
        [
            (None, 0o600, "cannot be read .*`sonod keys new NAME` makes a key file"),
            ("public = 3", 0o600, "public: must be a key of 40 characters"),
            ("", 0o600, "public: missing"),
            ("[", 0o600, "not a key file"),
            ("", 0o640, r"others can read this secret \(mode 0640\); run: chmod 600"),
        ],
    )
    def test_unusable_key_file_is_told(self, tmp_path: Path, text: str | None, mode: int, line: str) -> None:
        file = tmp_path / "x.key"
        if text is not None:
            file.write_text(text)
            file.chmod(mode)
        with pytest.raises(KeyFileError, match=line):
            ClientKeys.read(file)
        assert sonod("status", "--keys", str(file)).returncode == 2


def test_zap_is_asked_about_nothing_else(tmp_path: Path) -> None:
    from sonod.daemon.zap import ZapHandler

    sonod("keys", "server", "--folder", str(tmp_path))
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    handler = ZapHandler(context, Gate(tmp_path), "test")
    try:
        for parts in ([], [b"1.0", b"7"], [b"1.0", b"7", b"sonod", b"", b"", b"NULL"], [b"x"] * 9):
            answer = handler.answer(parts)
            assert answer is not None
            assert answer[2] == b"500"
        answer = handler.answer([b"1.0", b"7", b"sonod", b"::1", b"", b"CURVE", os.urandom(32)])
        assert answer is not None
        assert answer[1:3] == [b"7", b"400"]
    finally:
        handler.leave()
        context.destroy(linger=0)


def test_newest_frames_are_asked_for_beside_the_frames() -> None:
    keys = {"access": {"keys": "/k"}, "viewer": {"enabled": False}}
    exposed, local = "tcp://10.0.0.1:5555", "tcp://127.0.0.1:5555"
    for sections, latest in (
        ({**keys, "publish": {"endpoint": exposed}}, ("tcp://10.0.0.1:*",)),
        ({**keys, "publish": {"endpoint": exposed, "also": [local]}}, ("tcp://127.0.0.1:*", "tcp://10.0.0.1:*")),
        ({"publish": {"endpoint": "ipc:///run/s/f", "also": [local]}}, ("ipc:///run/s/f.latest",)),
        ({"publish": {"latest": "off"}}, ()),
        ({**keys, "publish": {"latest": "tcp://10.0.0.1:5557"}}, ("tcp://10.0.0.1:5557",)),
    ):
        assert parse_config(sections).latest_endpoints == latest


def test_newest_frame_needs_a_key_where_frames_do(keyed: Keyed) -> None:
    keys = keyed.new("tablet", "view")
    with keyed.admitted(keys) as control:
        here, there = control.describe().latests
        assert control.describe().latest == here
    assert here.startswith("tcp://127.0.0.1:")
    there = address(there)
    own = Pair.make()
    unknown = ClientKeys("nobody", own.public, own.secret, keys.server)
    for stranger, says in ((None, "wants a key here"), (unknown, "does not admit the key of 'nobody'")):
        with LatestFrames(there, timeout_s=PATIENCE_S, keys=stranger) as frames:
            for _ in range(2):
                with pytest.raises(AccessRefused, match=says):
                    frames.next()
    with LatestFrames(there, timeout_s=PATIENCE_S, keys=keys) as frames:
        keyed.bench.driver.deliver()
        assert frames.next().header.frame == 1
        # Revoked: what is connected is cut, and not let in again.
        keyed.revoke("tablet")
        with pytest.raises(AccessRefused, match="does not admit the key"):
            frames.next()
