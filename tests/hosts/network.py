"""Hosts on one machine: network namespaces, each with an address of its own, on a bridge. Linux, as root."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

BRIDGE = "case-orders"
HERE = "10.77.0.1"
NETWORK = "10.77.0.0/24"


def ip(*arguments: str) -> None:
    """Run iproute2's `ip`."""
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@dataclass(frozen=True)
class Host:
    """A network namespace with one address, and a cable that can be pulled."""

    number: int

    @property
    def name(self) -> str:
        return f"case-orders-{self.number}"

    @property
    def address(self) -> str:
        return f"10.77.0.{10 + self.number}"

    @property
    def _cable(self) -> str:
        return f"co-cable-{self.number}"

    def command(self, *words: str) -> list[str]:
        """What runs a command on this host."""
        return ["ip", "netns", "exec", self.name, *words]

    def cut_off(self) -> None:
        ip("link", "set", self._cable, "down")

    def reconnect(self) -> None:
        ip("link", "set", self._cable, "up")

    @contextmanager
    def built(self) -> Iterator["Host"]:
        ip("netns", "add", self.name)
        try:
            ip("link", "add", self._cable, "type", "veth", "peer", "name", "eth0", "netns", self.name)
            ip("link", "set", self._cable, "master", BRIDGE, "up")
            ip("-n", self.name, "link", "set", "lo", "up")
            ip("-n", self.name, "addr", "add", f"{self.address}/24", "dev", "eth0")
            ip("-n", self.name, "link", "set", "eth0", "up")
            yield self
        finally:
            ip("link", "del", self._cable)  # with the namespace it would go only some time later
            ip("netns", "del", self.name)


@contextmanager
def hosts(count: int) -> Iterator[list[Host]]:
    """So many hosts, which reach each other and us at `HERE`."""
    ip("link", "add", BRIDGE, "type", "bridge")
    try:
        ip("addr", "add", f"{HERE}/24", "dev", BRIDGE)
        ip("link", "set", BRIDGE, "up")
        with ExitStack() as stack:
            yield [stack.enter_context(Host(number).built()) for number in range(1, count + 1)]
    finally:
        ip("link", "del", BRIDGE)
