"""What lies in folders."""

import hashlib
from pathlib import Path


def digests(folder: Path) -> dict[str, str]:
    """Of all files, by their paths in the folder."""
    files = (file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
