"""Which hosts, addresses and ports this service calls."""

import errno
import re
import socket
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TypeAlias

from aiohttp import AddrInfoType
from yarl import URL

from case_orders.outbound.errors import Blocked

Address: TypeAlias = IPv4Address | IPv6Address

# https://www.iana.org/assignments/iana-ipv4-special-purpose-registry, and multicast. Kept here and not taken from
# `is_global`, whose answer changes with the version of Python.
_NOT_PUBLIC_V4 = tuple(
    ip_network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",  # in no registry: a virtual machine's own host answers it on Azure
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)

# https://www.iana.org/assignments/ipv6-unicast-address-assignments: all that is public so far lies in here.
_GLOBAL_UNICAST_V6 = ip_network("2000::/3")

# https://www.iana.org/assignments/iana-ipv6-special-purpose-registry; 2001::/23 holds Teredo, 2002::/16 is 6to4:
# both carry an IPv4 address that nobody would judge.
_NOT_PUBLIC_V6 = tuple(ip_network(network) for network in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))

_HOST_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
_NUMERIC_HOST = re.compile(r"(.*\.)?([0-9]+|0x[0-9a-f]*)")


class AddressNotPublic(OSError):
    """Raised inside a connect; an OSError, so that the next address of the same name is tried."""

    def __init__(self) -> None:
        super().__init__(errno.EACCES, "address is not public")


def parse_address(text: str) -> Address:
    """The address that a packet for `text` would go to: an IPv4 address in IPv6 clothes is an IPv4 address."""
    address = ip_address(text)
    return getattr(address, "ipv4_mapped", None) or address


def is_public(address: Address) -> bool:
    """Whether `address` is one host's on the public internet."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_V4)
    return address in _GLOBAL_UNICAST_V6 and not any(address in network for network in _NOT_PUBLIC_V6)


class AddressGuard:
    """Judges URLs by their form and, what counts, every address at the moment of connecting to it.

    `allow` names networks in CIDR form that are called although they are not public, and without TLS too;
    ValueError if one is malformed.
    """

    def __init__(self, allow: Sequence[str] = ()) -> None:
        self._allowed = tuple(ip_network(network) for network in allow)
        # The form of a URL says the same each time, and most calls go to few.
        self.check_url = lru_cache(maxsize=1000)(self._check_url)

    def open_socket(self, info: AddrInfoType) -> socket.socket:
        """A socket for a judged address, as aiohttp's `socket_factory`; raises AddressNotPublic."""
        family, kind, protocol, _, (host, port, *_) = info
        if not self._permits(parse_address(str(host))) or not _permits_port(int(port)):
            raise AddressNotPublic
        return socket.socket(family, kind, protocol)

    def _check_url(self, url: str) -> None:
        """Raises Blocked unless `url` has the form of one that may be called. Resolves no name.

        What goes out is health data, so all but an address of an allowed network is called over https: what a name
        stands for is another's to say.
        """
        try:
            parts = URL(url)
        except ValueError:
            raise Blocked("URL is not valid") from None
        if parts.scheme not in ("http", "https"):
            raise Blocked("URL is neither http nor https")
        if parts.user is not None or parts.password is not None:
            raise Blocked("URL carries a user name or a password")
        if parts.port is None or not _permits_port(parts.port):
            raise Blocked("port is neither 80, 443 nor 1024 or above")
        address = _address_of((parts.raw_host or "").removesuffix("."))
        if address is not None and not self._permits(address):
            raise Blocked("address is not public")
        if parts.scheme == "http" and (address is None or not self._allows(address)):
            raise Blocked("https is required")

    def _permits(self, address: Address) -> bool:
        return is_public(address) or self._allows(address)

    def _allows(self, address: Address) -> bool:
        return any(address in network for network in self._allowed)


def _address_of(host: str) -> Address | None:
    """The address that `host` is, None for a name; raises Blocked for what is neither."""
    try:
        return parse_address("127.0.0.1" if host == "localhost" or host.endswith(".localhost") else host)
    except ValueError:
        # Systems read 127.1, 2130706433 and 0x7f000001 as addresses, so none of them is a name.
        if not _HOST_NAME.fullmatch(host) or _NUMERIC_HOST.fullmatch(host):
            raise Blocked("URL is not valid") from None
        return None


def _permits_port(port: int) -> bool:
    return port in (80, 443) or port >= 1024
