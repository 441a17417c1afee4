"""Watches the files and reloads the configuration: completely, or not at all."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from sidecar.blocking import BlockingCalls
from sidecar.config.files import Loaded, fingerprints, paths
from sidecar.config.load import BadSettings

logger = logging.getLogger(__name__)


class Reloader:
    """Watches the settings file and the files that the settings name.

    loaded:    the settings at the start.
    config:    the settings file, if any.
    files:     runs the blocking calls on files.
    asked:     set to request a reload now, whether files have changed or not.
    load:      returns the settings with their files, as of now; BadSettings or OSError.
    apply:     applies them, or raises BadSettings and changes nothing.
    refused:   called when a reload is rejected.
    """

    def __init__(
        self,
        loaded: Loaded,
        config: Path | None,
        files: BlockingCalls,
        asked: asyncio.Event,
        *,
        load: Callable[[], Loaded],
        apply: Callable[[Loaded], Awaitable[None]],
        refused: Callable[[], None],
    ) -> None:
        self._loaded = loaded
        self._config = config
        self._files = files
        self._load = load
        self._apply = apply
        self._refused = refused
        self._asked = asked

    async def run(self) -> None:
        """Watch until cancelled."""
        wrong: list[str] = []
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._loaded.settings.reload_interval_seconds):
                    await self._asked.wait()
            asked = self._asked.is_set()
            self._asked.clear()
            # A rejected configuration may become valid without a change of a file:
            # the server may have learned the new certificate.
            found = await self._reload(always=asked or bool(wrong))
            if found and (asked or found != wrong):
                for line in found:
                    logger.warning("reload rejected: %s", line)
            wrong = found

    async def _reload(self, *, always: bool) -> list[str]:
        """Reload; return the errors of the new settings, and none if they were applied."""
        paths = self._paths()
        try:
            seen = await self._files.run(partial(fingerprints, paths))
            if seen == self._loaded.seen and not always:
                return []
            loaded = await self._files.run(self._load)
            await self._apply(loaded)
        except BadSettings as error:
            self._refused()
            return error.lines
        except TimeoutError as error:  # the file system hangs
            self._refused()
            return [f"{error}: {', '.join(map(str, paths))}"]
        except OSError as error:  # a file was removed while it was read
            self._refused()
            return [str(error)]
        self._loaded = loaded
        return []

    def _paths(self) -> list[Path]:
        config = [] if self._config is None else [self._config]
        return [*config, *paths(self._loaded.settings)]
