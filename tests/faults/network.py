"""The ways between a worker and its server that can fail: a proxy, and a wire through network namespaces."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import struct
import subprocess
import sys
import threading
import time

PRIVATE = "PGQUE_FAULTS_PRIVATE_NETWORK"
RESET_ON_CLOSE = struct.pack("ii", 1, 0)
PIECE = 65536


class Proxy:
    """Forwards TCP connections; can reset them, refuse new ones, and fall silent."""

    def __init__(self, port: int) -> None:
        self.upstream = port
        self.refusing = False
        self.writers: set[asyncio.StreamWriter] = set()
        self.loop = asyncio.new_event_loop()
        self.flows = asyncio.Event()
        self.flows.set()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.port = self._call(self._listen())

    def _call(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(10)

    async def _listen(self) -> int:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self.server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            writer.transport.abort()
            return
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.upstream)
        except OSError:
            writer.transport.abort()
            return
        self.writers |= {writer, server_writer}
        await asyncio.gather(self._pump(reader, server_writer), self._pump(server_reader, writer))
        self.writers -= {writer, server_writer}

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(PIECE):
                await self.flows.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        writer.close()

    async def _reset(self) -> None:
        for writer in list(self.writers):
            peer = writer.get_extra_info("socket")
            if peer is not None and peer.fileno() >= 0:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            writer.transport.abort()

    async def _flow(self, on: bool) -> None:
        if on:
            self.flows.set()
        else:
            self.flows.clear()

    def reset(self) -> None:
        """Resets all connections."""
        self._call(self._reset())

    def fall_silent(self) -> None:
        """Forwards nothing more, in either direction; both ends stay connected."""
        self._call(self._flow(False))

    def speak(self) -> float:
        self._call(self._flow(True))
        return time.time()

    def close(self) -> None:
        self.reset()
        self.loop.call_soon_threadsafe(self.loop.stop)


def enter_private_network() -> bool:
    """Runs this program again in a network of its own; true there, false where the machine does not allow it."""
    if os.environ.get(PRIVATE):
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return os.environ[PRIVATE] == "yes"
    probe = subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False)
    if probe.returncode or os.geteuid() != 0:
        return False
    os.environ[PRIVATE] = "yes"
    os.execvp("unshare", ["unshare", "--net", sys.executable, *sys.argv])


class Wire:
    """A client's network namespace behind a router's. Packets that the router drops are just gone: no error, no reset,
    as with a cable pulled or a firewall that forgot the connection."""

    numbers = itertools.count(1)

    def __init__(self) -> None:
        n = next(self.numbers)
        self.server_host, near = f"10.77.{n}.1", f"10.77.{n}.2"
        self.client_host, far = f"10.78.{n}.1", f"10.78.{n}.2"
        self.holders = [subprocess.Popen(["unshare", "--net", "sleep", "infinity"]) for _ in "rc"]
        self.router, self.client = (str(holder.pid) for holder in self.holders)
        self._wait_for_namespaces()
        run("ip", "link", "add", "name", f"s{n}", "type", "veth", "peer", "name", f"t{n}")
        run("ip", "link", "add", "name", f"c{n}", "type", "veth", "peer", "name", f"d{n}")
        run("ip", "link", "set", f"t{n}", "netns", self.router)
        run("ip", "link", "set", f"d{n}", "netns", self.router)
        run("ip", "link", "set", f"c{n}", "netns", self.client)
        self._up([], f"s{n}", self.server_host)
        self._up(self._in(self.router), f"t{n}", near)
        self._up(self._in(self.router), f"d{n}", far)
        self._up(self._in(self.client), f"c{n}", self.client_host)
        forward = "echo 1 > /proc/sys/net/ipv4/ip_forward"
        run(*self._in(self.router), "sh", "-c", forward)
        run("ip", "route", "add", f"10.78.{n}.0/24", "via", near)
        run(*self._in(self.client), "ip", "route", "add", "default", "via", far)
        self.dropped: list[str] = []

    def _wait_for_namespaces(self) -> None:
        ours = os.readlink("/proc/self/ns/net")
        while any(os.readlink(f"/proc/{pid}/ns/net") == ours for pid in (self.router, self.client)):
            time.sleep(0.01)

    def _in(self, pid: str) -> list[str]:
        return ["nsenter", "--target", pid, "--net"]

    def _up(self, prefix: list[str], link: str, host: str) -> None:
        run(*prefix, "ip", "address", "add", f"{host}/24", "dev", link)
        run(*prefix, "ip", "link", "set", link, "up")

    @property
    def prefix(self) -> list[str]:
        """What a command is preceded by to run at the client's end."""
        return self._in(self.client)

    def drop(self, direction: str) -> None:
        """`both`, `to_server` or `to_client`."""
        hosts = {"to_server": [self.server_host], "to_client": [self.client_host]}
        for host in hosts.get(direction, [self.server_host, self.client_host]):
            run(*self._in(self.router), "ip", "route", "add", "blackhole", f"{host}/32")
            self.dropped.append(host)

    def restore(self) -> float:
        while self.dropped:
            host = self.dropped.pop()
            run(*self._in(self.router), "ip", "route", "del", "blackhole", f"{host}/32")
        return time.time()

    def close(self) -> None:
        for holder in self.holders:
            holder.kill()
            holder.wait()


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
