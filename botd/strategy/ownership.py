"""Who else could change a file: what we load and run must be the user's own."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from pathlib import Path


def exposure(path: Path) -> str:
    """Return why others could change ``path`` (a real path) or a directory on its way, or an empty string."""
    owners = {0, os.geteuid()}
    for place in (path, *path.parents):
        status = place.stat()
        if status.st_uid not in owners:
            return f"{place} belongs to {_user(status.st_uid)}"
        if status.st_mode & stat.S_ISVTX and place.is_dir():
            continue  # sticky, as /tmp: others may add, not rename or remove what is ours
        if status.st_mode & stat.S_IWOTH:
            return f"{place} is writable by everybody; chmod o-w it"
        if status.st_mode & stat.S_IWGRP and not _private_group(status.st_gid, status.st_uid):
            return f"{place} is writable by its group; chmod g-w it"
    return ""


def _private_group(gid: int, uid: int) -> bool:
    """Tell whether the group is the owner's own (as where umask 002 is the custom)."""
    try:
        group, owner = grp.getgrgid(gid), pwd.getpwuid(uid)
    except KeyError:
        return False
    return owner.pw_gid == gid and group.gr_name == owner.pw_name and set(group.gr_mem) <= {owner.pw_name}


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
