"""The worker process of the suite's server, which runs its inferences.

It can be killed or stopped while the server lives on. Each line on standard input is
a JSON object with `id` and `milliseconds`; the id is printed when the time is over.
"""

import asyncio
import json
import sys


async def run(line: bytes) -> None:
    """One inference."""
    asked = json.loads(line)
    await asyncio.sleep(asked["milliseconds"] / 1000)
    sys.stdout.write(f"{asked['id']}\n")
    sys.stdout.flush()


async def main() -> None:
    """Runs what is asked until standard input ends."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    running = set()
    while line := await reader.readline():
        task = asyncio.create_task(run(line))
        running.add(task)
        task.add_done_callback(running.discard)


if __name__ == "__main__":
    asyncio.run(main())
