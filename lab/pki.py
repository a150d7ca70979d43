"""The cluster's certificates and kubeconfigs, by the ``cryptography`` library."""

from __future__ import annotations

import base64
import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lab.layout import NODE_IP, Lab, write_secret

LIFETIME = timedelta(days=3650)
# file name -> (common name, organisation): Kubernetes reads user and group from them
USERS = {
    "apiserver": ("kube-apiserver", "lab"),
    "admin": ("admin", "system:masters"),
    "kubelet": ("system:node:lab", "system:nodes"),
    "controller-manager": ("system:kube-controller-manager", "lab"),
    "scheduler": ("system:kube-scheduler", "lab"),
    "proxy": ("system:kube-proxy", "lab"),
    "coredns": ("coredns", "lab"),
    "front-proxy": ("front-proxy", "lab"),
}
HOSTS = ("localhost", "lab", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
ADDRESSES = ("127.0.0.1", "10.96.0.1", NODE_IP)


def write(lab: Lab) -> None:
    """Make the certificates, keys and kubeconfigs in ``pki/``, once, and the user's ``credentials/kubeconfig``."""
    folder = lab.dir / "pki"
    if (folder / "ca.crt").exists():
        return
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority = _certificate("lab-ca", "lab", authority_key, authority_key, None)
    for name, (common, organisation) in USERS.items():
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate(common, organisation, key, authority_key, authority)
        write_secret(folder / f"{name}.key", _private(key))
        write_secret(folder / f"{name}.crt", _pem(certificate))
        write_secret(folder / f"{name}.kubeconfig", _kubeconfig(lab, authority, certificate, key))
    signing = ec.generate_private_key(ec.SECP256R1())
    write_secret(folder / "service-accounts.key", _private(signing))
    public = signing.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    write_secret(folder / "service-accounts.pub", public.decode())
    write_secret(lab.credentials / "kubeconfig", (folder / "admin.kubeconfig").read_text())
    write_secret(folder / "ca.crt", _pem(authority))  # last: its presence says that all is there


def _certificate(
    common: str,
    organisation: str,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    authority: x509.Certificate | None,
) -> x509.Certificate:
    """A certificate for ``key``; an authority's own when ``authority`` is None."""
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, common),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation),
        ]
    )
    now = datetime.now(UTC) - timedelta(minutes=5)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(authority.subject if authority else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.BasicConstraints(ca=authority is None, path_length=None), critical=True)
    )
    if authority is not None:
        names: list[x509.GeneralName] = [x509.DNSName(host) for host in HOSTS]
        names += [x509.IPAddress(ipaddress.ip_address(address)) for address in ADDRESSES]
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    return builder.sign(signer, hashes.SHA256())


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _private(key: ec.EllipticCurvePrivateKey) -> str:
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(pem, form, serialization.NoEncryption()).decode()


def _kubeconfig(lab: Lab, authority: x509.Certificate, own: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> str:
    """A kubeconfig that holds all it needs, so that it can be copied (to a Jenkins credential, for one)."""

    def encoded(text: str) -> str:
        return base64.b64encode(text.encode()).decode()

    cluster = {"certificate-authority-data": encoded(_pem(authority)), "server": f"https://{lab.at('kubernetes')}"}
    user = {"client-certificate-data": encoded(_pem(own)), "client-key-data": encoded(_private(key))}
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "lab", "cluster": cluster}],
            "users": [{"name": "lab", "user": user}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
            "current-context": "lab",
        }
    )


def kubeconfig(lab: Lab) -> Path:
    """The user's kubeconfig."""
    return lab.credentials / "kubeconfig"
