"""Files that change as those of a ConfigMap or Secret do under a pod."""

from pathlib import Path

import trustme


class Volume:
    """A folder as Kubernetes mounts a ConfigMap or Secret: all files change in one swap."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._versions = 0
        folder.mkdir()

    def put(self, **files: str | bytes) -> None:
        """Makes these its files, in one moment."""
        self._versions += 1
        version = self.folder / f"..{self._versions}"
        version.mkdir()
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            (version / name).write_bytes(data)
            link = self.folder / name
            if not link.is_symlink():
                link.symlink_to(Path("..data", name))
        swap = self.folder / "..data_tmp"
        swap.symlink_to(version.name)
        swap.rename(self.folder / "..data")


def pair(leaf: trustme.LeafCert) -> dict[str, bytes]:
    """A certificate and its key."""
    return {"cert": leaf.cert_chain_pems[0].bytes(), "key": leaf.private_key_pem.bytes()}
