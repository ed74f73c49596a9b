"""Certificates for the servers and the clients of the connection tests, made with openssl."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

NAMES = "DNS:localhost,DNS:db.example.com,DNS:*.wild.example.com"
LEAF = "basicConstraints=critical,CA:FALSE"
PAST = ("20200101000000Z", "20210101000000Z")
FUTURE = ("20900101000000Z", "20910101000000Z")
DATABASE = """
[ca]
default_ca = it
[it]
database = {folder}/index.txt
new_certs_dir = {folder}
serial = {folder}/serial
default_md = sha256
policy = any
default_crl_days = 30
unique_subject = no
copy_extensions = copy
crlnumber = {folder}/crlnumber
crl_extensions = list
[list]
authorityKeyIdentifier = keyid
[any]
commonName = supplied
"""


def openssl(*arguments: str | Path) -> None:
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"openssl {' '.join(map(str, arguments))}: {done.stderr}")


class Authority:
    """Makes certificates `NAME.crt` with keys `NAME.key`."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.state = folder / f"{name}.state"
        self.state.mkdir()
        (self.state / "index.txt").touch()
        (self.state / "serial").write_text("1000\n")
        (self.state / "crlnumber").write_text("01\n")
        self.config = self.state / "openssl.cnf"
        self.config.write_text(DATABASE.format(folder=self.state))
        self_signed(
            folder,
            name,
            "basicConstraints=critical,CA:TRUE",
            "keyUsage=critical,keyCertSign,cRLSign",
        )

    def issue(
        self,
        name: str,
        subject: str,
        *extensions: str,
        key: str = "EC",
        dates: tuple[str, str] | None = None,
    ) -> None:
        """Without extensions the certificate is of version 1, as older recipes make them."""
        at = self.folder / name
        request = [
            "req",
            "-new",
            "-nodes",
            "-subj",
            f"/CN={subject}",
            "-out",
            f"{at}.csr",
            "-keyout",
            f"{at}.key",
        ]
        openssl(*request, *new_key(key))
        extra = self.state / f"{name}.ext"
        extra.write_text("\n".join(extensions))
        issue = [
            "ca",
            "-batch",
            "-notext",
            "-config",
            self.config,
            "-in",
            f"{at}.csr",
            "-out",
            f"{at}.crt",
        ]
        when = ["-startdate", dates[0], "-enddate", dates[1]] if dates else ["-days", "30"]
        more = ["-extfile", extra] if extensions else []
        signer = [
            "-cert",
            self.folder / f"{self.name}.crt",
            "-keyfile",
            self.folder / f"{self.name}.key",
        ]
        openssl(*issue, *when, *more, *signer)
        (self.folder / f"{name}.key").chmod(0o600)

    def revoke(self, name: str) -> None:
        self._ca("-revoke", self.folder / f"{name}.crt")

    def revocation_list(self, name: str) -> None:
        self._ca("-gencrl", "-out", self.folder / name)

    def _ca(self, *arguments: str | Path) -> None:
        signer = [
            "-cert",
            self.folder / f"{self.name}.crt",
            "-keyfile",
            self.folder / f"{self.name}.key",
        ]
        openssl("ca", "-config", self.config, *signer, *arguments)


def new_key(kind: str) -> list[str]:
    return {
        "EC": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"],
        "RSA": ["-newkey", "rsa:2048"],
        "ED25519": ["-newkey", "ed25519"],
    }[kind]


def self_signed(folder: Path, name: str, *extensions: str, subject: str | None = None) -> None:
    added = [word for extension in extensions for word in ("-addext", extension)]
    files = ["-out", folder / f"{name}.crt", "-keyout", folder / f"{name}.key"]
    request = ["req", "-x509", "-nodes", "-days", "30", "-subj", f"/CN={subject or name}"]
    openssl(*request, *new_key("EC"), *added, *files)
    (folder / f"{name}.key").chmod(0o600)


def make_all(folder: Path) -> None:
    ours, other = Authority(folder, "root"), Authority(folder, "other")
    san = f"subjectAltName={NAMES}"
    ours.issue("main", "localhost", LEAF, san)
    ours.issue("rsa", "localhost", LEAF, san, key="RSA")
    ours.issue("ed25519", "localhost", LEAF, san, key="ED25519")
    ours.issue("expired", "localhost", LEAF, san, dates=PAST)
    ours.issue("future", "localhost", LEAF, san, dates=FUTURE)
    ours.issue("wrong", "elsewhere.example.com", LEAF, "subjectAltName=DNS:elsewhere.example.com")
    ours.issue("common", "localhost", LEAF)
    ours.issue("address", "localhost", LEAF, "subjectAltName=IP:127.0.0.1")
    ours.issue("version1", "localhost")
    ours.issue("revoked", "localhost", LEAF, san)
    other.issue("foreign", "localhost", LEAF, san)
    self_signed(folder, "alone", san, subject="localhost")
    ours.issue("client", "cert", LEAF)
    ours.issue("client_expired", "cert", LEAF, dates=PAST)
    ours.issue("client_other_user", "somebody", LEAF)
    other.issue("client_foreign", "cert", LEAF)
    openssl(
        "pkey",
        "-in",
        folder / "client.key",
        "-aes256",
        "-passout",
        "pass:x",
        "-out",
        folder / "encrypted.key",
    )
    (folder / "encrypted.key").chmod(0o600)
    openssl("pkey", "-in", folder / "client.key", "-out", folder / "open.key")
    (folder / "open.key").chmod(0o644)
    ours.revocation_list("empty.crl")
    ours.revoke("revoked")
    ours.revocation_list("root.crl")
    (folder / "lists").mkdir()
    shutil.copy(folder / "root.crl", folder / "lists/root.crl")
    # Names as libpq's OpenSSL looks for them.
    openssl("rehash", folder / "lists")
    (folder / "both.crt").write_text(
        (folder / "other.crt").read_text() + (folder / "root.crt").read_text()
    )
    (folder / "garbage.crt").write_text("this is no certificate\n")
