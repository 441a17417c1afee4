"""New settings and replaced files: looked for each period and at SIGHUP, in force whole or not."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from sidecar.settings import BadSettings, Settings

logger = logging.getLogger(__name__)

# A file, and what tells it from another one in its place.
Looks = list[tuple[Path, tuple[int, ...]]]


class Reloader:
    """Watches the settings file and the files that the settings name.

    settings:  in force at the start.
    config:    the settings file, if there is one.
    seen:      it and those, as they were looked at before they were read.
    load:      the settings as they would be now, or BadSettings.
    apply:     puts them in force, or raises BadSettings and changes nothing.
    refused:   is told when new ones are not put in force.
    """

    def __init__(
        self,
        settings: Settings,
        config: Path | None,
        seen: Looks,
        *,
        load: Callable[[], Settings],
        apply: Callable[[Settings], Awaitable[None]],
        refused: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._config = config
        self._seen = seen
        self._load = load
        self._apply = apply
        self._refused = refused
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """Loads again now, whether or not a file has changed."""
        self._asked.set()

    async def run(self) -> None:
        """Watches until cancelled."""
        wrong: list[str] = []
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.period_seconds):
                    await self._asked.wait()
            asked = self._asked.is_set()
            self._asked.clear()
            before, self._seen = self._seen, look(self._files())
            # What was refused may have become right without another file: the
            # server may know the new certificate by now.
            if self._seen == before and not asked and not wrong:
                continue
            found = await self._reload()
            if found and (asked or found != wrong):
                for line in found:
                    logger.warning("the settings stay as they were: %s", line)
            wrong = found

    async def _reload(self) -> list[str]:
        """What is wrong with the new settings, line by line; nothing when they are in force."""
        try:
            settings = await asyncio.to_thread(self._load)
            await self._apply(settings)
        except (BadSettings, OSError) as error:  # OSError: a file went while it was read
            self._refused()
            return error.lines if isinstance(error, BadSettings) else [str(error)]
        self._settings = settings
        return []

    def _files(self) -> list[Path]:
        config = [] if self._config is None else [self._config]
        return [*config, *self._settings.files.values()]


def look(files: Iterable[Path]) -> Looks:
    """What tells each file from the one that it was, through every link on the way to it."""
    found: Looks = []
    for file in files:
        try:
            status = file.stat()
        except OSError:
            found.append((file, ()))
        else:
            identity = (status.st_dev, status.st_ino, status.st_size)
            found.append((file, (*identity, status.st_mtime_ns, status.st_ctime_ns)))
    return found
