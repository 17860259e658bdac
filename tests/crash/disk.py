"""disk.py - disks that fail: a daemon under faultfs.so with a control file, and a small file system that can be filled."""
import contextlib
import os
import shutil
import signal
import subprocess

from suite import STATE, end, start

HERE = os.path.dirname(os.path.abspath(__file__))
SHIM, CONTROL = STATE + "/faultfs.so", STATE + "/faultfs.control"
HITS = CONTROL + ".hits"


def build_shim():
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-Wall", "-Werror", "-o", SHIM, HERE + "/faultfs.c", "-ldl"], check=True)


def under_shim(*names):
    for name in names:
        end(name, signal.SIGTERM)
        start(name, **shim_env())


def shim_env():
    return {"LD_PRELOAD": SHIM, "FAULTFS_CONTROL": CONTROL}


def without_shim(*names):
    for name in names:
        end(name, signal.SIGTERM)
        start(name)


@contextlib.contextmanager
def failing(*rules):
    """While the block runs, calls that fit a rule fail. At least one must have."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(HITS)
    with open(CONTROL + ".new", "w") as f:
        f.write("".join(rule + "\n" for rule in rules))
    os.rename(CONTROL + ".new", CONTROL)
    try:
        yield
        assert os.path.exists(HITS), "no call met %s" % (rules,)
    finally:
        os.unlink(CONTROL)


def may_mount():
    place = STATE + "/mount-try"
    os.makedirs(place, exist_ok=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", place], capture_output=True).returncode != 0:
        return False
    subprocess.run(["umount", place], check=True)
    return True


class SmallDisk:
    """A folder's contents on a tmpfs with `megabytes` to spare, until it is closed; then they are back where they were."""

    def __init__(self, folder, megabytes):
        self.folder = folder
        self.filler = folder + "/filler"
        copy = folder + ".copy"
        shutil.copytree(folder, copy)
        megabytes += int(subprocess.run(["du", "-sm", copy], capture_output=True, check=True).stdout.split()[0])
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%dm,mode=700" % megabytes, "none", folder], check=True)
        shutil.copytree(copy, folder, dirs_exist_ok=True)
        shutil.rmtree(copy)

    def fill(self):
        with open(self.filler, "ab", buffering=0) as f, contextlib.suppress(OSError):
            for block in (1 << 20, 4096):
                with contextlib.suppress(OSError):
                    while f.write(b"\0" * block) == block:
                        pass

    def free(self):
        os.unlink(self.filler)

    def close(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.filler)
        copy = self.folder + ".copy"
        shutil.copytree(self.folder, copy)
        subprocess.run(["umount", self.folder], check=True)
        shutil.copytree(copy, self.folder, dirs_exist_ok=True)
        shutil.rmtree(copy)
