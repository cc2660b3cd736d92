"""What watching costs: the studio's training with a page that asks for all, and without; how soon texts are planned.

One run goes on all the time, while the page comes and goes every few seconds: neighbouring seconds give a ratio, so
that a machine that gets slower meanwhile decides nothing. The watcher is a process of its own that does what the page
does: it holds the web socket and asks for layers, test images and confusion once a second. Beside the ratio stands how
much of one core the server took while it was there, which another program that runs does not change. Run from the
repository's root on an idle machine: `python bench/studio.py`, or with names of networks, of which a part is enough:
`python bench/studio.py VGG`.
"""

from __future__ import annotations

import http.client
import json
import statistics
import subprocess
import sys
import threading
import time
from typing import NamedTuple

import uvicorn
from websockets.sync.client import connect

from neocog.studio import Workshop, guarded
from neocog.studio.drafting import draft
from neocog.studio.security import Keys
from neocog.studio.server import listening, settings
from neocog.zoo import text

NETWORKS = {
    "lenet5-relu on mnist": (text("lenet5-relu"), "mnist"),
    "small VGG on cifar10": (
        "INPUT[32x32x3] -> [CONV3-32 -> BN -> RELU -> CONV3-32 -> BN -> RELU -> POOL2]*2 -> FC10",
        "cifar10",
    ),
}
SECONDS, SETTLED, TURNS, WARM = 3.0, 0.5, 20, 3.0
PLANNED = ("lenet5", "vgg16", "resnet50", "googlenet", "resnet110", "resnet152", "resnet1202")


class Turn(NamedTuple):
    """Images a second without the page and with it, and the share of a core that serving it took."""

    free: float
    seen: float
    share: float


def turns(source: str, data: str) -> list[Turn]:
    """The studio's training while a page comes and goes."""
    workshop, keys = Workshop(), Keys()
    with listening(0) as place:
        port = place.getsockname()[1]
        server = uvicorn.Server(settings(guarded(workshop, keys, port)))
        thread = threading.Thread(target=server.run, args=([place],), daemon=True)
        thread.start()
        live = workshop.begin(source, data, {})
        live.ready.wait()
        key = keys.exchange(keys.token) or ""
        page = [sys.executable, __file__, "watch", str(port), key, live.name]
        with subprocess.Popen(page, stdin=subprocess.PIPE, text=True) as watcher:
            assert watcher.stdin is not None  # noqa: S101  # it was asked for
            time.sleep(WARM)
            found = []
            for _ in range(TURNS):
                rates = []
                for told in ("leave", "come"):
                    print(told, file=watcher.stdin, flush=True)
                    time.sleep(SETTLED)
                    seen, served, began = live.seen, serving(thread), time.perf_counter()
                    time.sleep(SECONDS)
                    passed = time.perf_counter() - began
                    rates.append(((live.seen - seen) / passed, (serving(thread) - served) / passed))
                found.append(Turn(rates[0][0], *rates[1]))
            watcher.kill()
        server.should_exit = True
        thread.join(10)
        workshop.close()
    return found


def serving(server: threading.Thread) -> float:
    """Processor seconds of the server's loop and of the threads that it answers in."""
    own = [one for one in threading.enumerate() if one is server or one.name.startswith(("AnyIO", "asyncio"))]
    return sum(time.clock_gettime(time.pthread_getcpuclockid(one.ident)) for one in own if one.ident)


def watch(port: str, key: str, name: str) -> None:
    """Be the page, or none, as told by the lines of standard input, until killed."""
    here, gone = threading.Event(), threading.Event()
    gone.set()
    threading.Thread(target=look, args=(port, key, name, here, gone), daemon=True).start()
    for line in sys.stdin:
        wanted, other = (here, gone) if line.strip() == "come" else (gone, here)
        other.clear()
        wanted.set()


def look(port: str, key: str, name: str, here: threading.Event, gone: threading.Event) -> None:
    """Watch a run whenever it is `here`."""
    headers = {"Authorization": f"Bearer {key}"}
    line = http.client.HTTPConnection("127.0.0.1", int(port))
    looked, have = 0.0, None
    while here.wait():
        with connect(f"ws://127.0.0.1:{port}/api/live", additional_headers=headers) as socket:
            while not gone.is_set():
                json.loads(socket.recv())
                if time.monotonic() - looked < 1:
                    continue
                looked = time.monotonic()
                body = json.dumps({"count": 8, "have": have})
                line.request("POST", f"/api/runs/{name}/layers", body, {**headers, "Content-Type": "application/json"})
                told = line.getresponse().read()
                have = json.loads(told)["looks"] if told else have
                for what in ("predictions", "confusion"):
                    line.request("GET", f"/api/runs/{name}/{what}", headers=headers)
                    line.getresponse().read()


def main() -> None:
    """Print a line for each network that was asked for, and without any for each planned text."""
    parts = sys.argv[1:]
    for name, (source, data) in NETWORKS.items():
        if parts and not any(part in name for part in parts):
            continue
        found = turns(source, data)
        low, middle, high = statistics.quantiles([turn.seen / turn.free for turn in found], n=4)
        free, seen, share = (statistics.median(side) for side in zip(*found, strict=True))
        print(
            f"{name}: {free:,.0f} images/s alone, {seen:,.0f} watched; ratio {middle:.3f} "
            f"(half of {TURNS} turns: {low:.3f} to {high:.3f}); serving took {100 * share:.1f} % of a core",
            flush=True,
        )
    for name in () if parts else PLANNED:
        times = []
        for batch in range(2, 9):
            began = time.perf_counter()
            draft(text(name), batch)
            times.append(1e3 * (time.perf_counter() - began))
        print(f"{name}: planned with drawing and advice in {statistics.median(times):.0f} ms")


if __name__ == "__main__":
    watch(*sys.argv[2:]) if sys.argv[1:2] == ["watch"] else main()
