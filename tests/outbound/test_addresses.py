import socket
from collections.abc import Sequence

import pytest

from case_orders.outbound import Blocked
from case_orders.outbound.addresses import (
    AddressGuard,
    AddressNotPublic,
    is_public,
    parse_address,
)

NOT_PUBLIC = [
    "0.0.0.0",
    "0.255.255.255",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.255",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.255",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "192.168.255.255",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::10.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:127.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:a00:1::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fe80::1%lo",
    "fec0::1",
    "ff02::1",
]
PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "100.63.255.255",
    "172.32.0.1",
    "192.0.1.1",
    "::ffff:8.8.8.8",
    "2606:4700::1111",
]


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_an_address_that_is_not_one_host_on_the_internet_is_not_public(
    address: str,
) -> None:
    assert not is_public(parse_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_on_the_internet_is_public(address: str) -> None:
    assert is_public(parse_address(address))


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_no_socket_is_opened_to_an_address_that_is_not_public(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with pytest.raises(AddressNotPublic):
        AddressGuard().open_socket((family, socket.SOCK_STREAM, 0, "", (address, 443)))


def test_no_socket_is_opened_to_a_port_of_the_system() -> None:
    with pytest.raises(AddressNotPublic):
        AddressGuard().open_socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("8.8.8.8", 25)))


@pytest.mark.parametrize("address", [a for a in NOT_PUBLIC if "%" not in a])
def test_a_url_with_an_address_that_is_not_public_is_refused_early(
    address: str,
) -> None:
    host = f"[{address}]" if ":" in address else address
    assert refusal(f"https://{host}/hook") == "address is not public"


@pytest.mark.parametrize(
    "url",
    [
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.1/",
        "http://0177.0.0.1/",
        "http://256.1.1.1/",
        "http://exa mple.com/",
        "http://a..b/",
        "http://h%2fx/",
        "http://" + "a" * 64 + ".com/",
        "http://" + "a." * 140 + "com/",
        "http://evil.test\\@127.0.0.1/",
        "http://host:99999/",
        "http:///path",
        "http://",
        "http://[::1",
        "http://[fe80::1%25lo]/",
    ],
)
def test_a_url_that_is_read_in_more_than_one_way_is_refused(url: str) -> None:
    assert refusal(url) in ("URL is not valid", "address is not public")


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost/",
        "http://LOCALHOST./",
        "http://app.localhost/",
        "http://127.0.0.1./",
        "http://\uff11\uff12\uff17.0.0.1/",
    ],
)
def test_this_machine_by_another_name_is_refused(url: str) -> None:
    assert refusal(url) == "address is not public"


@pytest.mark.parametrize(
    "url",
    ["ftp://example.com/", "file:///etc/passwd", "//example.com/", "example.com", ""],
)
def test_only_http_and_https_are_called(url: str) -> None:
    assert refusal(url) == "URL is neither http nor https"


@pytest.mark.parametrize("port", [0, 22, 25, 1023])
def test_a_port_of_the_system_is_refused(port: int) -> None:
    assert refusal(f"https://example.com:{port}/") == "port is neither 80, 443 nor 1024 or above"


@pytest.mark.parametrize("url", ["https://user@example.com/", "https://user:secret@example.com/"])
def test_a_url_with_a_user_is_refused(url: str) -> None:
    assert refusal(url) == "URL carries a user name or a password"


@pytest.mark.parametrize("url", ["http://example.com:8080/", "http://8.8.8.8/", "http://[2606:4700::1111]/"])
def test_outside_the_allowed_networks_https_is_required(url: str) -> None:
    assert refusal(url, allow=("127.0.0.0/8",)) == "https is required"


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/hook?x=1#y",
        "https://example.com:8080/",
        "https://EXAMPLE.com:443",
        "https://münchen.example/",
        "https://my_host.example./",
        "https://8.8.8.8/",
        "https://[2606:4700::1111]/",
    ],
)
def test_an_ordinary_url_is_taken(url: str) -> None:
    AddressGuard().check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8000/",
        "http://localhost:8000/",
        "http://[::ffff:127.0.0.1]:8000/",
        "https://127.0.0.1:8000/",
    ],
)
def test_an_address_of_an_allowed_network_is_taken(url: str) -> None:
    AddressGuard(allow=("127.0.0.0/8",)).check_url(url)


def test_allowing_one_network_allows_no_other() -> None:
    with pytest.raises(Blocked):
        AddressGuard(allow=("127.0.0.0/8", "::1/128")).check_url("http://10.0.0.1/")


def refusal(url: str, *, allow: Sequence[str] = ()) -> str:
    with pytest.raises(Blocked) as caught:
        AddressGuard(allow).check_url(url)
    return caught.value.reason
