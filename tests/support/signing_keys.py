"""Key pairs of the suite, generated at most once per run, and the forms they are handed over in.

An RSA key takes a good part of a second to make, so every test file shares the ones made here.
"""

from __future__ import annotations

import base64
import datetime
import functools
import hashlib
import json
from typing import Any, NamedTuple

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import NameOID

_CURVES: dict[str, ec.EllipticCurve] = {
    "P-256": ec.SECP256R1(),
    "P-384": ec.SECP384R1(),
    "P-521": ec.SECP521R1(),
    "secp256k1": ec.SECP256K1(),
}


def private_key(kind: str, owner: str = "service") -> Any:
    """The private key of one kind that belongs to ``owner``."""
    # The cache tells an argument that is given from a default.
    return _private_key(kind, owner)


@functools.cache
def _private_key(kind: str, owner: str) -> Any:
    if kind == "RSA":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    if kind == "Ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if kind == "Ed448":
        return ed448.Ed448PrivateKey.generate()
    return ec.generate_private_key(_CURVES[kind])


class Signer(NamedTuple):
    """An asymmetric algorithm and the kind of key that it takes."""

    algorithm: str
    kind: str

    def __str__(self) -> str:
        return f"{self.algorithm}-{self.kind}"


SIGNERS = [
    *(Signer(name, "RSA") for name in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")),
    Signer("ES256", "P-256"),
    Signer("ES384", "P-384"),
    Signer("ES512", "P-521"),
    Signer("ES256K", "secp256k1"),
    Signer("EdDSA", "Ed25519"),
    Signer("EdDSA", "Ed448"),
]

HMAC_ALGORITHMS = ["HS256", "HS384", "HS512"]


def private_pem(key: Any, form: PrivateFormat = PrivateFormat.PKCS8) -> str:
    """A private key as unencrypted PEM text."""
    return key.private_bytes(Encoding.PEM, form, NoEncryption()).decode()


def encrypted_pem(key: Any, password: bytes) -> str:
    """A private key as PEM text that needs a password."""
    return key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password)
    ).decode()


def public_pem(key: Any) -> str:
    """The public half of a private key as PEM text."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def public_dresses(key: Any) -> dict[str, bytes]:
    """The bytes under which the public half of a key circulates, by name of the encoding."""
    public = key.public_key()
    dresses = {
        "pem": public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "der": public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "ssh": public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
    }
    if isinstance(key, rsa.RSAPrivateKey):
        dresses["pkcs1"] = public.public_bytes(Encoding.PEM, PublicFormat.PKCS1)
        dresses["jwk"] = jwt.algorithms.RSAAlgorithm.to_jwk(public).encode()
        dresses["jwk-set"] = json.dumps({"keys": [json.loads(dresses["jwk"])]}).encode()
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        dresses["jwk"] = jwt.algorithms.ECAlgorithm.to_jwk(public).encode()
    else:
        dresses["jwk"] = jwt.algorithms.OKPAlgorithm.to_jwk(public).encode()
    return dresses


@functools.cache
def certificate(kind: str, owner: str = "service") -> x509.Certificate:
    """A self-signed certificate of a key, for the host ``owner``."""
    key = private_key(kind, owner)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, owner)])
    start = datetime.datetime(2020, 1, 1)
    is_edwards = isinstance(key, (ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey))
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=36_500))
        # Clients of TLS do not look at the common name.
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(owner)]), critical=False)
        .sign(key, None if is_edwards else hashes.SHA256())
    )


@functools.cache
def every_dress(kind: str) -> dict[str, bytes]:
    """All that an attacker may take for the bytes of a public key, by name of the dress."""
    key = private_key(kind)
    public = key.public_key()
    dresses = public_dresses(key)
    pem, der = dresses["pem"], dresses["der"]
    signed_by_itself = certificate(kind)
    dresses |= {
        "pem without the last newline": pem.strip(),
        "pem with one newline more": pem + b"\n",
        "pem with CRLF": pem.replace(b"\n", b"\r\n"),
        "pem without newlines": pem.replace(b"\n", b""),
        "pem with escaped newlines": pem.replace(b"\n", b"\\n"),
        "pem without its markers": b"".join(pem.splitlines()[1:-1]),
        "pem in UTF-16": pem.decode().encode("utf-16"),
        "base64 of the der": base64.b64encode(der),
        "base64url of the der": base64.urlsafe_b64encode(der).rstrip(b"="),
        "base64 of the pem": base64.b64encode(pem),
        "hex of the der": der.hex().encode(),
        "der and a byte": der + b"\0",
        "certificate": signed_by_itself.public_bytes(Encoding.PEM),
        "certificate in der": signed_by_itself.public_bytes(Encoding.DER),
        "ssh without its comment": dresses["ssh"].split()[1],
        "jwk with spaces": json.dumps(json.loads(dresses["jwk"]), indent=2).encode(),
        "jwk in a list": b"[" + dresses["jwk"] + b"]",
        "jwk thumbprint": hashlib.sha256(dresses["jwk"]).digest(),
    }
    if isinstance(public, rsa.RSAPublicKey):
        dresses["pkcs1 der"] = public.public_bytes(Encoding.DER, PublicFormat.PKCS1)
        modulus = public.public_numbers().n
        dresses["modulus"] = modulus.to_bytes(256, "big")
        dresses["modulus in decimal"] = str(modulus).encode()
    elif isinstance(public, ec.EllipticCurvePublicKey):
        dresses["point"] = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        dresses["short point"] = public.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    else:
        dresses["point"] = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return dresses


def dressed(key: Any, dress: str, *, private: bool) -> Any:
    """One half of a key pair in a form that an option accepts: pem-text, pem-bytes or object."""
    if dress == "object":
        return key if private else key.public_key()
    text = private_pem(key) if private else public_pem(key)
    return text if dress == "pem-text" else text.encode()


DRESSES = ["pem-text", "pem-bytes", "object"]
