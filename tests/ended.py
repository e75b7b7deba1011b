"""Whether a process has ended, be it ours or not."""

import time
from pathlib import Path


def is_running(process: int) -> bool:
    stat = Path(f"/proc/{process}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def ends(process: int, seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while is_running(process) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not is_running(process)
