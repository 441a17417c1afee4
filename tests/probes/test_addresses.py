"""Which addresses a target has, and how a channel to one of them behaves as one to the name."""

import socket

import pytest

from sidecar.blocking import BlockingCalls
from sidecar.probes import addresses

V4, V6 = socket.AF_INET, socket.AF_INET6


async def known(host: str, port: int) -> list[tuple[socket.AddressFamily, str]]:
    assert (host, port) == ("example", 80)
    return [(V6, "::1"), (V4, "127.0.0.1"), (V4, "127.0.0.1")]


async def unknown(_host: str, _port: int) -> list[tuple[socket.AddressFamily, str]]:
    raise socket.gaierror


@pytest.mark.parametrize("target", ["example:80", "dns:///example:80"])
async def test_a_name_has_each_of_its_addresses_once(target):
    assert await addresses.urls(target, known) == ["ipv6:[::1]:80", "ipv4:127.0.0.1:80"]


@pytest.mark.parametrize(
    "target",
    [
        "127.0.0.1:80",
        "[::1]:80",
        "ipv4:127.0.0.1:80",
        "unix:/tmp/server",
        "unix:/tmp/no..such:80",
        "unix-abstract:name:80",
    ],
)
async def test_what_is_one_address_already_is_not_looked_up(target):
    assert (await addresses.urls(target, unknown), addresses.named(target)) == ([], [])


async def test_a_list_has_its_parts_and_no_name():
    target = "ipv4:127.0.0.1:80,127.0.0.2:81"
    found = await addresses.urls(target, unknown)
    assert found == ["ipv4:127.0.0.1:80", "ipv4:127.0.0.2:81"]
    assert addresses.named(target) == []


async def test_of_many_addresses_some_are_asked():
    async def many(_host: str, _port: int) -> list[tuple[socket.AddressFamily, str]]:
        return [(V4, f"127.0.0.{number}") for number in range(1, 100)]

    assert len(await addresses.urls("example:80", many)) == addresses.MOST


async def test_a_name_that_cannot_be_looked_up_has_none():
    assert await addresses.urls("example:80", unknown) == []


def test_the_name_is_the_authority_and_what_the_certificate_must_be_for():
    assert addresses.named("dns:///example:80") == [
        ("grpc.default_authority", "example:80"),
        ("grpc.ssl_target_name_override", "example"),
    ]


async def test_the_machine_is_asked_in_a_thread():
    calls = BlockingCalls("looking up a name", 5)
    assert (V4, "127.0.0.1") in await addresses.look_up(calls, "localhost", 80)
    with pytest.raises(UnicodeError):
        await addresses.look_up(calls, "no..such", 80)
