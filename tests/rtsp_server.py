"""An RTSP server on this machine that tests can kill and start again: one clip, as MPEG-TS in RTP over TCP.

As much of RFC 2326 as a client needs that asks for interleaved TCP; the payload is RFC 2250's (type 33).
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from pathlib import Path

PAYLOAD_TYPE = 33
PACKETS_AT_ONCE = 7 * 188
CLOCK = 90_000


class RtspServer:
    """Serves a transport stream to every client, at its own pace, again and again.

    Attributes:
        served: how many clients were given the stream.
        freeze: while it is set, connections stay open and nothing is sent.
    """

    def __init__(self, clip: Path, seconds: float, port: int = 0) -> None:
        self._data, self._seconds = clip.read_bytes(), seconds
        self._closing = threading.Event()
        self.freeze = threading.Event()
        self.served = 0
        self._clients: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Die: every connection ends, and nobody listens."""
        self._closing.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for client in self._clients:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
            client.close()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._clients.append(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            requests = client.makefile("rb")
            while self._answer(client, requests):
                pass
        except (OSError, ValueError):
            return

    def _answer(self, client: socket.socket, requests: object) -> bool:
        lines: list[str] = []
        while True:
            line = requests.readline().decode()  # type: ignore[attr-defined]
            if not line:
                return False
            if not line.strip():
                break
            lines.append(line.strip())
        method = lines[0].split()[0]
        sequence = next(line for line in lines if line.lower().startswith("cseq"))
        head, body = [sequence], ""
        if method == "OPTIONS":
            head.append("Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN")
        elif method == "DESCRIBE":
            body = (
                "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=test\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\na=control:*\r\n"
                f"m=video 0 RTP/AVP {PAYLOAD_TYPE}\r\na=rtpmap:{PAYLOAD_TYPE} MP2T/{CLOCK}\r\na=control:track1\r\n"
            )
            head.append("Content-Type: application/sdp")
        elif method == "SETUP":
            head += ["Transport: RTP/AVP/TCP;unicast;interleaved=0-1", "Session: 1"]
        elif method == "PLAY":
            head += ["Session: 1", "Range: npt=0.000-"]
        head.append(f"Content-Length: {len(body)}")
        client.sendall(("RTSP/1.0 200 OK\r\n" + "\r\n".join(head) + "\r\n\r\n" + body).encode())
        if method == "PLAY":
            self.served += 1
            self._play(client)
            return False
        return method != "TEARDOWN"

    def _play(self, client: socket.socket) -> None:
        begun, sent = time.monotonic(), 0
        while not self._closing.is_set():
            for begin in range(0, len(self._data), PACKETS_AT_ONCE):
                while self.freeze.is_set() and not self._closing.is_set():
                    self._closing.wait(0.05)
                at = self._seconds * (sent * PACKETS_AT_ONCE) / len(self._data)
                self._closing.wait(max(0.0, begun + at - time.monotonic()))
                payload = self._data[begin : begin + PACKETS_AT_ONCE]
                stamp = int(at * CLOCK) & 0xFFFFFFFF
                packet = struct.pack(">BBHII", 0x80, PAYLOAD_TYPE, sent & 0xFFFF, stamp, 1) + payload
                client.sendall(struct.pack(">BBH", 0x24, 0, len(packet)) + packet)
                sent += 1
