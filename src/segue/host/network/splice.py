"""Pairs of TCP connections that are one: what comes in at one end goes out at the other, its end and its reset, too.

Rule 1: bytes are passed on as they come and never looked at; one end's half-close is not the other's.
Rule 2: an end that cannot take more stops the other from being read; memory is bounded by one read per connection.
Rule 3: standard library only and no objects beyond the two ends: a connection must cost microseconds.
"""

from __future__ import annotations

import select
import socket
import struct

READ_BYTES = 1 << 18
_IN = select.EPOLLIN | select.EPOLLRDHUP
_OUT = select.EPOLLOUT
_BROKEN = select.EPOLLHUP | select.EPOLLERR
_SILENT = -1  # the mask of an end that has left the epoll
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER with no time: close sends RST


class End:
    """One of two connections. Plain slots: two are made per request, thousands each second."""

    __slots__ = ("broken", "ended", "fd", "mask", "other", "out", "shut", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.other: End | None = None
        self.out = b""  # still to be written to it
        self.mask = 0
        self.ended = False  # it has said its last
        self.shut = False  # it was told that the other end has said its last
        self.broken = False  # writing to it failed: whatever comes from it now ends in a reset


class Splice:
    """All pairs, on the epoll of their process."""

    def __init__(self, epoll: select.epoll) -> None:
        self._epoll = epoll
        self.ends: dict[int, End] = {}

    def join(self, one: End, other: End) -> None:
        """Carry bytes between two connected sockets from now on."""
        one.other, other.other = other, one
        self._add(one)
        self._add(other)

    def swallow(self, end: End) -> None:
        """Take what comes and stay silent, until it gives up."""
        self._add(end)

    def on_event(self, end: End, events: int) -> None:
        """Something happened at this end."""
        if events & _OUT and end.out:
            self._flush(end)
        if not events & (_IN | _BROKEN) or end.fd < 0:
            return
        if not end.ended:
            self._read(end)
        elif events & _BROKEN and not end.shut:  # an end that is shut both ways always reads as hung up
            self._reset(end)

    def close_all(self) -> None:
        """Cut every connection."""
        for end in list(self.ends.values()):
            self._close(end, reset=True)

    def _add(self, end: End) -> None:
        end.mask = _IN
        self.ends[end.fd] = end
        self._epoll.register(end.fd, _IN)

    def _watch(self, end: End) -> None:
        """Ask for what can be dealt with now: reading stops at the end, or while the other end is full."""
        if end.ended and end.shut:  # nothing more can happen here, and the epoll would say so for ever
            if end.mask != _SILENT:
                end.mask = _SILENT
                self._epoll.unregister(end.fd)
            return
        mask = _OUT if end.out else 0
        if not end.ended and not (end.other is not None and end.other.out):
            mask |= _IN
        if mask != end.mask:
            end.mask = mask
            self._epoll.modify(end.fd, mask)

    def _read(self, end: End) -> None:
        try:
            data = end.sock.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self._reset(end)
            return
        other = end.other
        if other is None:
            if not data:
                self._close(end)
        elif data:
            self._write(other, data)
        elif end.broken:  # its reset was already taken for a failed write, and now reads as an end
            self._reset(end)
        else:
            end.ended = True
            self._pass_end(end, other)

    def _write(self, end: End, data: bytes) -> None:
        if end.broken:
            return
        if end.out:  # the last bytes of a broken end come even where nobody asks for them
            end.out += data
            return
        try:
            sent = end.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:  # it has reset; what it said before that is still there to be read
            end.broken = True
            if end.ended:
                self._reset(end)
            return
        if sent < len(data):
            end.out = data[sent:]
            self._watch(end)
            if end.other is not None:
                self._watch(end.other)

    def _flush(self, end: End) -> None:
        data, end.out = end.out, b""
        self._write(end, data)
        if end.out or end.fd < 0:
            return
        self._watch(end)
        other = end.other
        assert other is not None, "only the other end's bytes wait to be written"
        if other.ended:
            self._pass_end(other, end)
        else:
            self._watch(other)

    def _pass_end(self, end: End, other: End) -> None:
        """`end` says no more; once all it said is out, the other hears of that."""
        if other.out or (other.ended and end.out):
            self._watch(end)
            return
        if other.ended:  # both have said their last, and all of it was passed on
            self._close(end)
            self._close(other)
            return
        try:
            other.sock.shutdown(socket.SHUT_WR)
        except OSError:  # reset meanwhile: its event follows
            other.broken = True
        other.shut = True
        self._watch(end)

    def _reset(self, end: End) -> None:
        """`end` is broken: so is the other one."""
        other = end.other
        self._close(end)
        if other is not None:
            self._close(other, reset=True)

    def _close(self, end: End, *, reset: bool = False) -> None:
        if end.fd < 0:
            return
        del self.ends[end.fd]
        end.fd = -1
        end.other = None
        if reset:
            reset_on_close(end.sock)
        end.sock.close()  # leaves the epoll by itself


def reset_on_close(sock: socket.socket) -> None:
    """Let the coming close send RST instead of FIN."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    except OSError:  # already gone: nobody is left to be told
        return
