"""Certificates for one run: an authority and a certificate for each address, with openssl."""

import subprocess


class Certificates:
    """A directory with `authority.pem`, and for each name `NAME.crt`, `NAME.key` and both in
    `NAME.pem`."""

    def __init__(self, directory):
        self.directory = directory
        self.authority = directory / "authority.pem"

    def make(self, addresses_of):
        """Make all, for a mapping of names to lists of IP addresses."""
        self.directory.mkdir(exist_ok=True)
        root = self.directory / "authority.key"
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", root)
        openssl(
            "req", "-x509", "-new", "-key", root, "-days", "2", "-subj", "/CN=Phones",
            "-addext", "basicConstraints=critical,CA:TRUE", "-out", self.authority,
        )  # fmt: skip
        for name, addresses in addresses_of.items():
            self._leaf(root, name, addresses)

    def _leaf(self, root, name, addresses):
        key, request = self.key(name), self.directory / f"{name}.csr"
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
        openssl("req", "-new", "-key", key, "-subj", f"/CN={addresses[0]}", "-out", request)
        extensions = self.directory / f"{name}.ext"
        names = ",".join(f"IP:{address}" for address in addresses)
        extensions.write_text(f"subjectAltName={names}\nbasicConstraints=CA:FALSE\n")
        openssl(
            "x509", "-req", "-in", request, "-CA", self.authority, "-CAkey", root,
            "-CAcreateserial", "-days", "2", "-extfile", extensions, "-out", self.certificate(name),
        )  # fmt: skip
        self.pem(name).write_bytes(key.read_bytes() + self.certificate(name).read_bytes())

    def certificate(self, name):
        """Path of a certificate."""
        return self.directory / f"{name}.crt"

    def key(self, name):
        """Path of a private key."""
        return self.directory / f"{name}.key"

    def pem(self, name):
        """Path of a file with both."""
        return self.directory / f"{name}.pem"


def openssl(*arguments):
    """Run it; what it says is shown when it fails."""
    done = subprocess.run(
        ["openssl", *map(str, arguments)], capture_output=True, text=True, timeout=30, check=False
    )
    if done.returncode:
        raise OSError(f"openssl {arguments[0]} failed: {done.stderr.strip()}")
