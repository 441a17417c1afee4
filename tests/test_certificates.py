"""When certificates expire, held against what another library says."""

from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sidecar.certificates import earliest_expiry
from tests.conftest import EXPIRES


def test_the_expiry_of_a_certificate_is_read(pki):
    assert earliest_expiry(pki.cert) == EXPIRES.timestamp()


def test_of_several_certificates_the_first_to_expire_counts(pki, tmp_path):
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(b"a comment\n" + pki.ca.read_bytes() + pki.cert.read_bytes())
    assert earliest_expiry(bundle) == EXPIRES.timestamp()


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
    assert earliest_expiry(path) == expires.timestamp()


def test_a_file_without_a_certificate_is_an_error(pki):
    with pytest.raises(ValueError, match="holds no certificate in PEM form"):
        earliest_expiry(pki.key)
