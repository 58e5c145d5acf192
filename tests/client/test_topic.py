from __future__ import annotations

import pytest

from sonod.client.wire.errors import WireError
from sonod.client.wire.topic import Topic, probe_slug, subscription


def test_topic_goes_there_and_back() -> None:
    assert Topic("bmode", "linear-128").encode() == b"sonod.1.bmode.linear-128"
    assert Topic.decode(b"sonod.1.bmode.linear-128") == Topic("bmode", "linear-128")


@pytest.mark.parametrize(
    "data", [b"", b"sonod.2.bmode.x", b"sonod.1.bmode", b"sonod.1..x", b"sonod.1.a.b.c", b"\xff\xfe"]
)
def test_other_topics_are_refused(data: bytes) -> None:
    with pytest.raises(WireError, match="topic"):
        Topic.decode(data)


@pytest.mark.parametrize(
    ("name", "slug"),
    [("Linear 128", "linear-128"), ("L12-5 (50mm)", "l12-5-50mm"), ("Büffel", "b-ffel"), ("...", "unknown")],
)
def test_probe_names_become_safe(name: str, slug: str) -> None:
    assert probe_slug(name) == slug
    Topic("bmode", slug)


def test_subscription_is_a_prefix_of_what_it_asks_for() -> None:
    topic = Topic("bmode", "linear-128").encode()
    for prefix in (subscription(), subscription("bmode"), subscription("bmode", "Linear 128")):
        assert topic.startswith(prefix)
    assert not Topic("bmode-fused", "linear-128").encode().startswith(subscription("bmode"))
