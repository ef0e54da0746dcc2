"""Where a file lies: on a file system that SQLite can trust, with room left?"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from hookline.cli.doctor.finding import Finding, fail, ok, warn

MOUNTS = Path("/proc/mounts")

_NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "beegfs", "gpfs", "gfs2"}
    | {"ocfs2", "vboxsf", "virtiofs", "davfs", "drvfs"}
)
_IN_MEMORY = frozenset({"tmpfs", "ramfs"})
_OCTAL = re.compile(r"\\([0-7]{3})")

_MIB = 1024 * 1024
LOW_SPACE = 500 * _MIB
NO_SPACE = 20 * _MIB


def file_system_finding(folder: Path, mounts: str | None = None) -> Finding:
    """Whether SQLite's locks and its write-ahead log work in a folder.

    Args:
        folder: an absolute path without symbolic links.
        mounts: what is mounted, as `/proc/mounts` tells it; read from there by default.
    """
    if mounts is None:
        try:
            mounts = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            return ok("file system", f"{folder}: this system does not tell what is mounted there")
    kind = file_system_of(folder, mounts)
    if kind in _NETWORK or (kind.startswith("fuse") and kind != "fuseblk"):
        return warn(
            "file system",
            f"{folder} is on {kind}, where SQLite's locks and shared memory may not work",
            "keep the database on a local disk",
        )
    if kind in _IN_MEMORY:
        return warn(
            "file system", f"{folder} is on {kind}: it is lost at a restart", "keep the database on a disk that lasts"
        )
    return ok("file system", f"{folder} is on {kind or 'a file system of an unknown kind'}")


def file_system_of(folder: Path, mounts: str) -> str:
    """The kind of file system that a folder is on; "" if nothing tells."""
    best, kind = -1, ""
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = Path(_OCTAL.sub(lambda match: chr(int(match[1], 8)), fields[1]))
        # The later of two mounts on one point hides the earlier one.
        if folder.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), fields[2]
    return kind


def space_finding(folder: Path) -> Finding:
    """Whether the disk of a folder has room."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return warn("disk space", f"{folder}: {error.strerror}", "see that the folder can be read")
    text = f"{free / _MIB:,.0f} MiB free at {folder}"
    if free < NO_SPACE:
        return fail("disk space", text, "make room: runs that cannot be stored are refused")
    if free < LOW_SPACE:
        return warn("disk space", text, "make room, or keep finished deliveries for fewer days (retention_days)")
    return ok("disk space", text)
