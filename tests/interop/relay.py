"""A TCP relay that lets no answer overtake the bytes that are still being written to a server.

What the client writes is held until it pauses, and then goes on in one piece; what the server says passes at once.
It does not read what it carries (TLS or not), but keeps what each connection began with. Bounds: `MOST` held bytes; a
connection ends with either side.
"""

import select
import socket
import threading
import time

PAUSE = 0.02  # seconds without more bytes of the client
MOST = 1 << 20


class Relay:
    def __init__(self, port):
        self.server = ("127.0.0.1", port)
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        self.beginnings = []  # the first piece of each connection
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:  # stopped
                return
            threading.Thread(target=self.carry, args=(client,), daemon=True).start()

    def carry(self, client):
        try:
            with client, socket.create_connection(self.server, timeout=10) as server:
                for one in (client, server):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    one.settimeout(10)
                exchange(client, server, self.beginnings)
        except OSError:
            pass  # either side may reset; the other then sees an end

    def stop(self):
        self.listener.close()


def exchange(client, server, beginnings):
    held, due, reads, begun = bytearray(), None, [client, server], False
    while server in reads:
        wait = None if due is None else max(due - time.monotonic(), 0)
        ready, _, _ = select.select(reads, [], [], wait)
        if server in ready:
            data = received(server)
            if data:
                client.sendall(data)
            else:
                reads.remove(server)
        if client in ready:
            data = received(client)
            if data:
                held += data
                due = time.monotonic() + PAUSE
            else:
                reads.remove(client)
                due = time.monotonic()
        elif due is not None and time.monotonic() >= due:
            if not begun:
                beginnings.append(bytes(held))
                begun = True
            server.sendall(held)
            held.clear()
            due = None
            if client not in reads:
                server.shutdown(socket.SHUT_WR)
        if len(held) > MOST:
            due = time.monotonic()
    # To close with unread bytes would reset the connection, and what the server said last with it.
    client.shutdown(socket.SHUT_WR)
    client.settimeout(1)
    while client in reads and received(client):
        pass


def received(one):
    """The next bytes, or none where the peer has ended or reset the connection."""
    try:
        return one.recv(65536)
    except ConnectionError:
        return b""
