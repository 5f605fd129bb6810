"""The process that sends: what it may take, and what nobody can read of it."""

from __future__ import annotations

import json
import subprocess
import sys

SHOW = """
import ctypes, json
from resource import RLIMIT_CORE, RLIMIT_DATA, RLIMIT_FSIZE, getrlimit
from dockmend.notify import apprise_process
apprise_process._confine()
print(json.dumps({
    "dumpable": ctypes.CDLL(None).prctl(3, 0, 0, 0, 0),
    "core": getrlimit(RLIMIT_CORE), "file": getrlimit(RLIMIT_FSIZE), "data": getrlimit(RLIMIT_DATA),
    "adjusted": int(open("/proc/self/oom_score_adj").read()),
}))
"""


def test_no_core_of_it_holds_a_url_and_it_is_the_first_to_go_if_memory_is_short():
    told = json.loads(
        subprocess.run([sys.executable, "-c", SHOW], check=True, capture_output=True).stdout
    )
    assert told["dumpable"] == 0, "a core that is piped to a program knows no limit"
    assert (told["core"], told["file"], told["adjusted"]) == ([0, 0], [0, 0], 1000)
    assert told["data"][0] <= 256 * 1024 * 1024
