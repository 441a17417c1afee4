"""URLs, channel arguments and credentials: what is taken, and what is refused in plain words."""

import json

import pytest

from sidecar.client import InvalidInput
from sidecar.client.channel import Target, channel_options, credentials, fit, parse_url

LOCAL = Target("localhost:8001", tls=False, loopback=True)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("localhost:8001", LOCAL),
        ("grpc://localhost:8001", LOCAL),
        ("http://localhost:8001/", LOCAL),
        ("grpcs://localhost:8001", Target("localhost:8001", tls=True, loopback=True)),
        ("https://localhost:443", Target("localhost:443", tls=True, loopback=True)),
        ("https://triton.prod.svc", Target("triton.prod.svc:443", tls=True, loopback=False)),
        ("http://triton.prod.svc", Target("triton.prod.svc:80", tls=False, loopback=False)),
        ("triton", Target("triton:80", tls=False, loopback=False)),
        ("10.0.0.7:1", Target("10.0.0.7:1", tls=False, loopback=False)),
        ("127.9.9.9:65535", Target("127.9.9.9:65535", tls=False, loopback=True)),
        ("[::1]:8001", Target("[::1]:8001", tls=False, loopback=True)),
        ("[::1]", Target("[::1]:80", tls=False, loopback=True)),
        ("grpcs://[fe80::1%25eth0]:9", Target("[fe80::1%25eth0]:9", tls=True, loopback=False)),
        ("dns:///triton:8001", Target("dns:///triton:8001", tls=False, loopback=False)),
        ("ipv4:127.0.0.1:9", Target("ipv4:127.0.0.1:9", tls=False, loopback=True)),
        ("ipv6:[::1]:9", Target("ipv6:[::1]:9", tls=False, loopback=True)),
        ("ipv4:127.0.0.1:9,10.0.0.1", Target("ipv4:127.0.0.1:9,10.0.0.1:80", False, False)),
        ("dns:localhost:9", Target("dns:///localhost:9", tls=False, loopback=True)),
        ("unix:///run/s.sock", Target("unix:///run/s.sock", tls=False, loopback=True)),
        ("unix:s.sock", Target("unix:s.sock", tls=False, loopback=True)),
        ("unix-abstract:s", Target("unix-abstract:s", tls=False, loopback=True)),
    ],
)
def test_a_url_leads_to_a_target(url, target):
    assert parse_url(url) == target


@pytest.mark.parametrize("url", ["triton", "grpc://triton", "grpcs://triton", "https://triton"])
def test_a_caller_who_wants_tls_gets_it_and_its_port(url):
    assert parse_url(url, tls=True) == Target("triton:443", tls=True, loopback=False)


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("localhost:0", "port 0 is outside 1-65535"),
        ("localhost:99999", "port 99999 is outside 1-65535"),
        ("https://h:443/v2/models", "no path"),
        ("http://user:secret@h:80", "no user"),
        ("::1", "IPv6 in brackets"),
        ("[::g]:80", "'::g' is not an IPv6 address"),
        ("h:80:90", "not host:port"),
        ("h:eighty", "not host:port"),
        ("h :80", "not host:port"),
        ("", "not host:port"),
        ("https://", "not host:port"),
        ("ftp://h:80", "unknown scheme, known are grpc"),
        ("unix:", "neither unix:path nor unix:///path"),
        ("unix:///", "neither unix:path nor unix:///path"),
        ("unix://name/path", "neither unix:path nor unix:///path"),
        ("unix:///\udcff", "not text on one line"),
        ("unix:///" + "a" * 120, "the path is longer than 107 bytes"),
        ("h:80\n", "not text on one line"),
        (None, "url None is not text"),
        (8001, "url 8001 is not text"),
    ],
)
def test_a_url_that_leads_nowhere_is_refused_and_named(url, part):
    with pytest.raises(InvalidInput) as caught:
        parse_url(url)
    assert part in caught.value.reason
    assert fit(url) in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://user:s3cret@h:80", "'http://***@h:80'"),
        ("http://user:s3cret@h\n", "'http://***@h\\n'"),
        ("s3cret@x://h", "'***@x://h'"),
        ("http://us:pa/s3cret@h", "'http://***@h'"),
        ("https://h/?token=s3cret", "'https://h/?***'"),
        ("unix://user:s3cret@h", "'unix://***@h'"),
    ],
)
def test_an_error_shows_no_secret_of_a_url(url, shown):
    with pytest.raises(InvalidInput) as caught:
        parse_url(url)
    assert shown in caught.value.reason
    assert "s3cret" not in caught.value.reason


def test_plaintext_by_url_and_tls_by_argument_contradict_each_other():
    with pytest.raises(InvalidInput, match=r"http:// is plaintext, but TLS was asked for"):
        parse_url("http://h:80", tls=True)


def options(channel_args=None, retries=3, target=LOCAL):
    return dict(channel_options(target, channel_args, retries))


def test_by_default_messages_are_unlimited_and_unavailable_is_retried():
    given = options()
    config = json.loads(given.pop("grpc.service_config"))
    assert given == {
        "grpc.max_send_message_length": -1,
        "grpc.max_receive_message_length": -1,
        "grpc.max_metadata_size": 2**24,
        "grpc.absolute_max_metadata_size": 2**24,
        "grpc.enable_http_proxy": 0,
        "grpc.enable_retries": 1,
    }
    assert config == {
        "methodConfig": [
            {
                "name": [{}],
                "retryPolicy": {
                    "maxAttempts": 3,
                    "initialBackoff": "0.1s",
                    "maxBackoff": "1s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ]
    }


@pytest.mark.parametrize("retries", [None, 0, 1])
def test_without_retries_grpc_still_repeats_what_the_server_never_processed(retries):
    given = options(retries=retries)
    assert ("grpc.service_config" in given, given["grpc.enable_retries"]) == (False, 1)


def test_more_retries_than_grpc_makes_are_cut_with_a_warning():
    with pytest.warns(UserWarning, match="retries=8: gRPC makes at most 5"):
        given = options(retries=8)
    assert '"maxAttempts": 5' in given["grpc.service_config"]


def test_the_callers_arguments_win_and_are_left_alone():
    mine = [("grpc.max_receive_message_length", 9), ("grpc.service_config", "{}")]
    given = options(channel_args=mine)
    assert given["grpc.max_receive_message_length"] == 9
    assert given["grpc.max_send_message_length"] == -1
    assert given["grpc.service_config"] == "{}"
    assert mine == [("grpc.max_receive_message_length", 9), ("grpc.service_config", "{}")]


@pytest.mark.parametrize("retries", [0, 1, None, 3])
def test_a_service_config_of_the_callers_own_is_in_force_whatever_the_retries(retries):
    given = options([("grpc.service_config", "{}")], retries)
    assert (given["grpc.service_config"], given["grpc.enable_retries"]) == ("{}", 1)


@pytest.mark.parametrize("args", [5, [1], [("a",)], [(1, 1)]])
def test_channel_arguments_that_are_none_are_refused(args):
    with pytest.raises(InvalidInput, match="channel_args are not pairs of a name and a value"):
        options(args)


@pytest.mark.parametrize("retries", ["3", 2.5])
def test_retries_that_are_no_number_are_refused(retries):
    with pytest.raises(InvalidInput, match="is neither a whole number nor None"):
        options(retries=retries)


@pytest.mark.parametrize("retries", [0, 1, None, 3])
def test_retries_switched_off_by_argument_bring_no_service_config(retries):
    given = options((("grpc.enable_retries", 0),), retries)
    assert ("grpc.service_config" in given, given["grpc.enable_retries"]) == (False, 0)


@pytest.mark.parametrize("name", ["grpc.max_metadata_size", "grpc.absolute_max_metadata_size"])
def test_a_limit_on_metadata_of_the_callers_own_is_the_only_one(name):
    given = options([(name, 9000)])
    assert {key: value for key, value in given.items() if "metadata" in key} == {name: 9000}


def test_a_proxy_is_left_to_grpc_for_other_hosts():
    assert "grpc.enable_http_proxy" not in options(target=parse_url("triton:80"))


@pytest.mark.parametrize(
    ("key", "chain", "message"),
    [
        ("k.pem", None, "private_key was given without certificate_chain"),
        (None, "c.pem", "certificate_chain was given without private_key"),
    ],
)
def test_a_key_without_its_certificate_is_refused_and_does_not_abort_the_process(
    key, chain, message
):
    with pytest.raises(InvalidInput, match=message):
        credentials(None, key, chain)
