"""Certificates for tests, as PEM files."""

from __future__ import annotations

from pathlib import Path

import trustme


class Authority:
    """A certificate authority; `file` is its own certificate."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "ca.pem"
        self._ca = trustme.CA()
        self._ca.cert_pem.write_to_path(str(self.file))

    def issue(self, name: str) -> tuple[Path, Path]:
        """Issue a certificate for a name and 127.0.0.1; return its file and its key."""
        issued = self._ca.issue_cert(name, "127.0.0.1")
        certificate, key = (self.folder / f"{name}.{end}" for end in ("pem", "key"))
        issued.cert_chain_pems[0].write_to_path(str(certificate))
        issued.private_key_pem.write_to_path(str(key))
        return certificate, key
