"""Waiting for a lock of another process without keeping a thread.

There are few threads, and whoever holds a lock needs one to finish: forty accounts that wait in threads
would keep the log, the database and the holder itself from going on.
"""

import asyncio
import time
from typing import Final

from kiro.storage.files import FileLock

_PATIENCE_S: Final = 75.0
"""More than a refresh can take: two requests of thirty seconds each."""
_POLL_S: Final = 0.02
_LONGEST_POLL_S: Final = 0.2


async def acquire(lock: FileLock) -> None:
    """Takes the lock. Raises StorageError when its holder has had more time than it can need."""
    began, pause_s = time.monotonic(), _POLL_S
    while not await asyncio.to_thread(lock.try_acquire):
        if time.monotonic() - began >= _PATIENCE_S:
            raise lock.stuck(_PATIENCE_S)
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 1.5, _LONGEST_POLL_S)
