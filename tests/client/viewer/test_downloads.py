"""Downloads of clips: what is sent, and what no page can have."""

from __future__ import annotations

import asyncio
import io
import tarfile
from pathlib import Path
from typing import Any

import pytest
from fake_daemon import FakeDaemon, linear_scene
from viewer_client import Client, serving

from sonod.client.viewer import bundle as bundle_module
from sonod.client.viewer.bundle import NoBundle, bundle_of
from sonod.client.viewer.downloads import DOWNLOAD_LIMIT, Tickets
from sonod.client.viewer.options import Options


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """The folder of a clip, and beside it what nobody may have."""
    folder = tmp_path / "clip-1"
    folder.mkdir()
    (folder / "manifest.json").write_text('{"format": "sonod-clip"}')
    (folder / "raw.h5").write_bytes(bytes(range(256)) * 9001)
    (folder / "empty.h5").write_bytes(b"")
    (tmp_path / "secret").write_text("secret")
    (folder / "link.h5").symlink_to(tmp_path / "secret")
    (folder / "inner").mkdir()
    return folder


def saved(folder: Path, **facts: Any) -> dict[str, Any]:
    """The clip, as `status` has it."""
    return {"active": False, "path": None, "last": {"path": str(folder), "failed": False, **facts}}


async def promise(client: Client, path: Path | str, **headers: str) -> tuple[int, Any]:
    request = client.session.post(client.url + "download", json={"path": str(path)}, headers=client.origin | headers)
    async with request as response:
        return response.status, await response.json() if response.content_type == "application/json" else None


def test_the_last_clip_is_sent_as_a_tar_file_and_once(clip: Path) -> None:
    async def scenario(daemon: FakeDaemon) -> None:
        async with serving(daemon) as client:
            status, reply = await promise(client, clip)
            assert status == 200
            assert reply["name"] == "clip-1.tar"
            url = client.url.rstrip("/") + reply["url"]
            async with client.session.get(url) as response:
                data = await response.read()
                assert response.status == 200
                assert response.headers["Content-Disposition"] == 'attachment; filename="clip-1.tar"'
                assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert len(data) == reply["bytes"]
            with tarfile.open(fileobj=io.BytesIO(data)) as tar:
                names = ["clip-1/empty.h5", "clip-1/manifest.json", "clip-1/raw.h5"]
                assert tar.getnames() == names
                for name in names:
                    part = tar.extractfile(name)
                    assert part is not None
                    assert part.read() == (clip.parent / name).read_bytes()
            async with client.session.get(url) as response:
                assert response.status == 404

    with FakeDaemon(linear_scene, clip=saved(clip)) as daemon:
        asyncio.run(scenario(daemon))


def test_nothing_but_the_clip_that_the_daemon_saved_last_can_be_had(clip: Path) -> None:
    async def scenario(daemon: FakeDaemon) -> None:
        async with serving(daemon) as client:
            for path in (clip.parent, "/etc", f"{clip}/../clip-1", f"{clip}/", "", "clip-1"):
                status, reply = await promise(client, path)
                assert (status, reply["error"]["code"]) == (404, "refused"), path
            for body in ({}, {"path": 3}, ["path"]):
                async with client.session.post(client.url + "download", json=body, headers=client.origin) as response:
                    assert response.status == 400
            assert (await promise(client, clip, Origin="http://evil.example"))[0] == 403
            for url in ("download/x/clip-1.tar", "download/../manifest.json", "download/%2e%2e/etc/passwd"):
                async with client.session.get(client.url + url) as response:
                    assert response.status == 404
            daemon.clip = saved(clip, failed=True)
            assert (await promise(client, clip))[0] == 404
            # A folder that is no clip, though the daemon should say so.
            daemon.clip = saved(clip.parent)
            status, reply = await promise(client, clip.parent)
            assert "is not the folder of a clip" in reply["error"]["message"]

    with FakeDaemon(linear_scene, clip=saved(clip)) as daemon:
        asyncio.run(scenario(daemon))


def test_a_file_that_became_shorter_ends_the_download(clip: Path) -> None:
    async def scenario() -> None:
        bundle = bundle_of(clip)
        (clip / "raw.h5").write_bytes(b"short")
        with pytest.raises(NoBundle, match="became shorter"):
            async for _ in bundle.chunks():
                pass

    asyncio.run(scenario())


def test_a_file_that_became_a_link_is_not_followed(clip: Path) -> None:
    async def scenario() -> None:
        bundle = bundle_of(clip)
        (clip / "raw.h5").unlink()
        (clip / "raw.h5").symlink_to(clip.parent / "secret")
        with pytest.raises(NoBundle, match=r"raw\.h5: cannot be read"):
            async for _ in bundle.chunks():
                pass

    asyncio.run(scenario())


def test_large_files_are_sent_piece_by_piece(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle_module, "CHUNK_BYTES", 1000)

    async def scenario() -> None:
        bundle = bundle_of(clip)
        pieces = [piece async for piece in bundle.chunks()]
        assert max(map(len, pieces)) <= 1024
        assert sum(map(len, pieces)) == bundle.size_bytes

    asyncio.run(scenario())


def test_tickets_and_downloads_are_bounded(clip: Path) -> None:
    tickets = Tickets()
    issued = [tickets.issue(bundle_of(clip)) for _ in range(100)]
    assert len({ticket for ticket in issued if tickets.take(ticket)}) == 16
    with tickets.running() as first, tickets.running() as second, tickets.running() as third:
        assert (first, second, third) == (True, True, False)
    assert DOWNLOAD_LIMIT == 2


def test_files_of_another_machine_are_not_looked_for() -> None:
    here = [Options(control=control).daemon_here for control in ("tcp://[::1]:1", "ipc:///run/x", "tcp://scanner:1")]
    assert here == [True, True, False]
