"""When certificates expire, held against what another library says."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sidecar.config.certificates import certificates, latest_expiry, leaf_expiry
from tests.conftest import EXPIRES


def test_the_expiry_of_a_certificate_is_read(pki):
    assert leaf_expiry(pki.cert) == latest_expiry(pki.cert) == EXPIRES.timestamp()


def test_of_a_bundle_of_authorities_the_last_to_expire_counts(pki, tmp_path):
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(b"a comment\n" + pki.cert.read_bytes() + pki.ca.read_bytes())
    assert latest_expiry(bundle) == latest_expiry(pki.ca) > EXPIRES.timestamp()


def test_a_certificate_that_is_commented_out_does_not_count(pki, tmp_path):
    bundle = tmp_path / "bundle.pem"
    ca = "".join(f"# {line}\n" for line in pki.ca.read_text().splitlines())
    bundle.write_text(ca + pki.cert.read_text())
    assert latest_expiry(bundle) == leaf_expiry(bundle) == EXPIRES.timestamp()
    assert len(certificates(bundle)) == 1


def test_of_a_certificate_with_its_chain_the_leaf_counts(pki, tmp_path):
    chain = tmp_path / "chain.pem"
    for first, second in ((pki.ca, pki.cert), (pki.cert, pki.ca)):
        chain.write_bytes(first.read_bytes() + second.read_bytes())
        assert leaf_expiry(chain) == leaf_expiry(first)


DEBIANS = Path("/etc/ssl/certs/ca-certificates.crt")


@pytest.mark.skipif(not DEBIANS.exists(), reason="the bundle of Debian's ca-certificates")
def test_a_system_bundle_with_expired_roots_has_years_left():
    expiries = [certificate.expires for certificate in certificates(DEBIANS)]
    assert min(expiries) < latest_expiry(DEBIANS) == max(expiries)


@pytest.mark.parametrize(
    "expires",
    [
        datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC),
        datetime(2049, 12, 31, tzinfo=UTC),
        datetime(2050, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
    ],
)
def test_both_ways_of_writing_a_date_are_read(expires, tmp_path):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x" * 64)])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(datetime(1990, 1, 1, tzinfo=UTC))
        .not_valid_after(expires)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "c.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    assert leaf_expiry(path) == latest_expiry(path) == expires.timestamp()


def test_a_file_without_a_certificate_is_an_error(pki):
    with pytest.raises(ValueError, match="holds no certificate in PEM form"):
        leaf_expiry(pki.key)
