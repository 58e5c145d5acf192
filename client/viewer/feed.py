"""Frames and notices from the daemon, passed to every browser that looks."""

from __future__ import annotations

import json
import logging
import struct
import time
from collections import Counter
from dataclasses import dataclass

import zmq
import zmq.asyncio

from sonod.client.address import connect
from sonod.client.keys import ClientKeys
from sonod.client.viewer.mailbox import Mailbox
from sonod.client.viewer.raw import MIDDLE, RATE_HZ, RAW, RawFrame, Trace
from sonod.client.wire.errors import WireError
from sonod.client.wire.fields import Fields
from sonod.client.wire.notices import EVENT, NOTICES
from sonod.client.wire.topic import Topic, is_refusal, subscription

# The products that the page can show.
PRODUCTS = ("bmode", "mmode", "lines", RAW)
# The daemon keeps at most this many messages for us; we pass on the newest, so more would only be older.
RECEIVE_LIMIT_MESSAGES = 8
# Larger parts than any picture, header or notice cost the daemon its connection and not us our memory.
PART_LIMIT_BYTES = 256 * 1024 * 1024
HEADER_LIMIT_BYTES = 4 * 1024 * 1024
# A payload that starts on this border can be viewed in the browser without a copy.
ALIGNMENT_BYTES = 8
LARGEST_RECONNECT_MS = 1000

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Heard:
    notice: str
    at_s: float


class Feed:
    """One subscription to the daemon for all browsers; a product is asked for while a browser looks at it.

    The daemon need not be there: the socket connects when it comes, again and again.
    """

    def __init__(self, context: zmq.asyncio.Context, endpoint: str, keys: ClientKeys | None = None) -> None:
        self._socket: zmq.asyncio.Socket = context.socket(zmq.SUB)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RCVHWM, RECEIVE_LIMIT_MESSAGES)
        self._socket.setsockopt(zmq.MAXMSGSIZE, PART_LIMIT_BYTES)
        self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, LARGEST_RECONNECT_MS)
        if keys is not None:
            keys.apply(self._socket)
        for notice in NOTICES:
            self._socket.subscribe(subscription(notice))
        connect(self._socket, endpoint)
        self._looking: dict[Mailbox, frozenset[str]] = {}
        self._demand: Counter[str] = Counter()
        self._standing: dict[str, _Heard] = {}
        # Which trace a browser looks at, and the newest raw frame, for whoever chooses another one while frozen.
        self._traces: dict[Mailbox, Trace] = {}
        self._raw: RawFrame | None = None
        self._refused: set[str] = set()

    def close(self) -> None:
        self._socket.close()

    def join(self, mailbox: Mailbox) -> None:
        """A browser came: it gets the standing notices, and frames once it looks at something."""
        self._looking[mailbox] = frozenset()
        now_s = time.monotonic()
        for product, heard in self._standing.items():
            mailbox.put_text(product, _envelope(heard.notice, now_s - heard.at_s))

    def leave(self, mailbox: Mailbox) -> None:
        """A browser went."""
        self.look(mailbox, frozenset())
        del self._looking[mailbox]
        self._traces.pop(mailbox, None)

    def look(self, mailbox: Mailbox, products: frozenset[str], trace: Trace = (0, MIDDLE)) -> None:
        """A browser wants these products and no others; they are of PRODUCTS. Of raw frames it wants one trace."""
        before = self._looking[mailbox]
        self._looking[mailbox] = products
        for product in products - before:
            self._demand[product] += 1
            if self._demand[product] == 1:
                self._socket.subscribe(_topic(product))
        for product in before - products:
            mailbox.forget(product)
            if product == RAW:
                self._traces.pop(mailbox, None)
            self._demand[product] -= 1
            if self._demand[product] == 0:
                self._socket.unsubscribe(_topic(product))
                if product == RAW:
                    self._raw = None
        if RAW in products and trace != self._traces.get(mailbox):
            self._traces[mailbox] = trace
            if self._raw is not None:
                mailbox.put_frame(RAW, frame_message(*self._raw.cut(trace)))

    async def run(self) -> None:
        """Pass on what comes, until cancelled."""
        while True:
            parts = await self._socket.recv_multipart()
            try:
                self._pass_on(parts)
            except WireError as error:
                self._refuse(str(error))

    def _pass_on(self, parts: list[bytes]) -> None:
        if len(parts) != 3:
            raise WireError(f"message: must have three parts; got {len(parts)}")
        product = EVENT if is_refusal(parts[0], parts[2]) else Topic.decode(parts[0]).product
        if product in NOTICES:
            self._pass_on_notice(product, parts[1])
        elif product == RAW:
            self._pass_on_raw(RawFrame(parts[1], parts[2]))
        elif product in PRODUCTS:
            frame = frame_message(parts[1], parts[2])
            for mailbox, products in self._looking.items():
                if product in products:
                    mailbox.put_frame(product, frame)

    def _pass_on_raw(self, frame: RawFrame) -> None:
        self._raw = frame
        for mailbox, products in self._looking.items():
            if RAW in products:
                mailbox.put_frame(RAW, frame_message(*frame.cut(self._traces[mailbox])))

    def _pass_on_notice(self, product: str, data: bytes) -> None:
        notice = json.dumps(Fields.parse(data, "notice").values)
        if product != EVENT:
            self._standing[product] = _Heard(notice, time.monotonic())
        text = _envelope(notice, 0.0)
        for mailbox in self._looking:
            if product == EVENT:
                mailbox.put_event(text)
            else:
                mailbox.put_text(product, text)

    def _refuse(self, reason: str) -> None:
        # Said once: a daemon that speaks wrongly does so at its frame rate.
        if reason not in self._refused and len(self._refused) < 100:
            self._refused.add(reason)
            _log.warning("message from the daemon not understood: %s", reason)


def frame_message(header: bytes, payload: bytes) -> bytes:
    """What a browser receives: length of the header (u32, little-endian), header, payload.

    The header is filled with blanks so that the payload starts on a border of 8 bytes.
    """
    if len(header) > HEADER_LIMIT_BYTES:
        raise WireError(f"frame header: must be at most {HEADER_LIMIT_BYTES} bytes; got {len(header)}")
    length = len(header) + -(4 + len(header)) % ALIGNMENT_BYTES
    return b"".join((struct.pack("<I", length), header.ljust(length), payload))


def _topic(product: str) -> bytes:
    """What to subscribe to: of raw frames a few a second."""
    return subscription(product, variant=f"rate-{RATE_HZ}" if product == RAW else "")


def _envelope(notice: str, age_s: float) -> str:
    return f'{{"kind":"notice","age_s":{age_s:.3f},"notice":{notice}}}'
