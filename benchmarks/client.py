"""What does the client cost, beside KServe's, Triton's and a bare channel that sends ready bytes?

Each is a process of its own in an environment of its own; in each run every
one does the same work in turn, against the same server. Prints ratios: ours
to the bare channel, and ours to the better of the other two.

    python -m benchmarks.client [RUNS]
"""

import sys
from contextlib import ExitStack

from benchmarks.figures import divide, table
from benchmarks.processes import Contender, contender, echo_server, interpreter, process

# The same client, when the array is copied before, as KServe's and Triton's do it.
COPYING, COPIED = "ours, copying", "set_data_from_numpy"

KB, MB = 1024, 1024 * 1024
SIZES = {"4 KB": (4 * KB, 200), "1 MB": (MB, 40), "16 MB": (16 * MB, 6)}

READY = {
    "is_model_ready, one at a time": {"work": "ready", "calls": 400, "in_flight": 1},
    "is_model_ready, 32 in flight": {"work": "ready", "calls": 1600, "in_flight": 32},
}
ARRAYS = {
    f"FP32 {name}": {"datatype": "FP32", "elements": size // 4, "calls": calls}
    for name, (size, calls) in SIZES.items()
} | {"10,000 BYTES": {"datatype": "BYTES", "elements": 10_000, "calls": 20}}
STREAM = {"work": "stream", "datatype": "FP32", "elements": 16, "calls": 4}

# Which statement imports each, and what runs it.
IMPORTS = {
    "ours": "from sidecar.client import InferenceGRPCClient",
    "bare": "import grpc.aio",
    "kserve": "from kserve import InferenceGRPCClient",
    "tritonclient": "import tritonclient.grpc.aio",
}


def compare(
    contenders: dict[str, Contender], runs: int, **task: object
) -> dict[str, list[tuple[float, float]]]:
    """The figures of each contender that can do the task, run by run."""
    unable = {
        "bare": ("encode", "decode"),
        "kserve": ("stream",),
        COPYING: ("ready", "stream", "encode", "decode"),
    }
    able = [name for name in contenders if task["work"] not in unable.get(name, ())]
    for name in able:
        contenders[name].do(**task)  # to warm up
    figures: dict[str, list[tuple[float, float]]] = {name: [] for name in able}
    for _ in range(runs):
        for name in able:
            figures[name].append(contenders[name].do(**task))
    return figures


def ratios(
    label: str, figures: dict[str, list[tuple[float, float]]], column: int
) -> dict[str, list[float]]:
    """Ours to the bare channel, and ours to the better of the other two, run by run."""
    by_name = {name: [pair[column] for pair in pairs] for name, pairs in figures.items()}
    others = [by_name[name] for name in ("kserve", "tritonclient") if name in by_name]
    best = [min(figures) for figures in zip(*others, strict=True)]
    whom = "the better of the two" if len(others) > 1 else "tritonclient's"
    rows = {}
    if "bare" in by_name:
        rows[f"{label}: to the bare channel"] = divide(by_name["ours"], by_name["bare"])
    rows[f"{label}: to {whom}"] = divide(by_name["ours"], best)
    if COPYING in by_name:
        rows[f"{label}, {COPIED}: to {whom}"] = divide(by_name[COPYING], best)
    return rows


def imported(name: str) -> tuple[float, float]:
    """Seconds and MiB that the import takes in a new process."""
    code = (
        "import time; start = time.perf_counter()\n"
        f"{IMPORTS[name]}\n"
        "took = time.perf_counter() - start\n"
        "rss = [l for l in open('/proc/self/status') if l.startswith('VmRSS')][0].split()[1]\n"
        "print(took, int(rss) / 1024)"
    )
    with process(interpreter(name), "-c", code) as popen:
        assert popen.stdout is not None
        duration, memory = popen.stdout.readline().split()
    return float(duration), float(memory)


def main(runs: int) -> None:
    """Prints every table."""
    with ExitStack() as stack:
        url = stack.enter_context(echo_server())
        contenders = {
            name: stack.enter_context(contender(name, url)) for name in (*IMPORTS, COPYING)
        }
        health: dict[str, list[float]] = {}
        for label, task in READY.items():
            figures = compare(contenders, runs, **task)
            health |= ratios(f"{label}, CPU", figures, 1) | ratios(f"{label}, wall", figures, 0)
        inference: dict[str, list[float]] = {}
        for label, array in ARRAYS.items():
            for work in ("infer", "encode", "decode"):
                figures = compare(contenders, runs, work=work, **array)
                inference |= ratios(f"{label}, {work}", figures, 0)
        figures = compare(contenders, runs, **STREAM)
        label = "stream of 1,000 responses"
        inference |= ratios(f"{label}, CPU", figures, 1) | ratios(f"{label}, wall", figures, 0)
    imports = {name: [imported(name) for _ in range(runs)] for name in IMPORTS}
    print(table(health))
    print(table(inference))
    print(table(ratios("import, time", imports, 0) | ratios("import, memory", imports, 1)))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
