"""What watching costs: training alone, and in the studio under a page that asks for all; how soon texts are planned.

Turns alternate, and each pair gives a ratio, so that a machine that gets slower meanwhile decides nothing. The watcher
is a process of its own that does what the page does: it holds the web socket and asks for layers, test images and
confusion once a second. Beside the ratio stands how much of one core the server took meanwhile, which another program
that runs does not change. Run from the repository's root on an idle machine: `python bench/studio.py`, or with names of
networks, of which a part is enough: `python bench/studio.py VGG`.
"""

from __future__ import annotations

import http.client
import json
import statistics
import subprocess
import sys
import threading
import time

import uvicorn
from websockets.sync.client import connect

from neocog import Network, load_data
from neocog.studio import Workshop, guarded
from neocog.studio.choosing import chosen_settings
from neocog.studio.drafting import draft
from neocog.studio.security import Keys
from neocog.studio.server import listening, settings
from neocog.studio.workshop import HELD_OUT
from neocog.training.loop import Pace
from neocog.training.session import Session
from neocog.zoo import text

NETWORKS = {
    "lenet5-relu on mnist": (text("lenet5-relu"), "mnist"),
    "small VGG on cifar10": (
        "INPUT[32x32x3] -> [CONV3-32 -> BN -> RELU -> CONV3-32 -> BN -> RELU -> POOL2]*2 -> FC10",
        "cifar10",
    ),
}
SECONDS, TURNS, WARM = 10.0, 5, 3.0
PLANNED = ("lenet5", "vgg16", "resnet50", "googlenet", "resnet110", "resnet152", "resnet1202")


def alone(source: str, data: str) -> float:
    """Images a second of the engine that the studio would take, with nobody looking."""
    network = Network.parse(source)
    splits = load_data(data)
    session = Session(network, splits, chosen_settings(network, {}, len(splits.train) // HELD_OUT), "auto", "auto")
    pace, images, epoch, done = Pace(), 0, 1, 0
    batches = session.batches.epoch(epoch)
    began = warm = time.perf_counter()
    while time.perf_counter() - began < SECONDS + WARM:
        steps = min(pace.steps, len(batches.sizes) - done)
        course = batches.course(done, [0.02] * steps)
        with pace.timed(steps):
            session.engine.learn(course)
        done += steps
        if done == len(batches.sizes):
            epoch, done = epoch + 1, 0
            batches = session.batches.epoch(epoch)
        if time.perf_counter() - began < WARM:
            warm = time.perf_counter()
        else:
            images += int(course.sizes.sum())
    return images / (time.perf_counter() - warm)


def watched(source: str, data: str) -> tuple[float, float]:
    """Images a second in the studio, with a page that asks for everything; the share of a core that serving took."""
    workshop, keys = Workshop(), Keys()
    with listening(0) as place:
        port = place.getsockname()[1]
        server = uvicorn.Server(settings(guarded(workshop, keys, port)))
        thread = threading.Thread(target=server.run, args=([place],), daemon=True)
        thread.start()
        live = workshop.begin(source, data, {})
        live.ready.wait()
        key = keys.exchange(keys.token) or ""
        watcher = subprocess.Popen([sys.executable, __file__, "watch", str(port), key, live.name])
        time.sleep(WARM)
        seen, served, began = live.seen, serving(thread), time.perf_counter()
        time.sleep(SECONDS)
        passed = time.perf_counter() - began
        rate, share = (live.seen - seen) / passed, (serving(thread) - served) / passed
        watcher.kill()
        watcher.wait()
        server.should_exit = True
        thread.join(10)
        workshop.close()
    return rate, share


def serving(server: threading.Thread) -> float:
    """Processor seconds of the server's loop and of the threads that it answers in."""
    own = [one for one in threading.enumerate() if one is server or one.name.startswith(("AnyIO", "asyncio"))]
    return sum(time.clock_gettime(time.pthread_getcpuclockid(one.ident)) for one in own if one.ident)


def watch(port: str, key: str, name: str) -> None:
    """Be the page, until killed."""
    headers = {"Authorization": f"Bearer {key}"}
    line = http.client.HTTPConnection("127.0.0.1", int(port))
    looked, have = 0.0, None
    with connect(f"ws://127.0.0.1:{port}/api/live", additional_headers=headers) as socket:
        while True:
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
        pairs = [(alone(source, data), *watched(source, data)) for _ in range(TURNS)]
        ratios = sorted(seen / free for free, seen, _ in pairs)
        free, seen, share = (statistics.median(side) for side in zip(*pairs, strict=True))
        print(
            f"{name}: {free:,.0f} images/s alone, {seen:,.0f} watched; ratio {statistics.median(ratios):.3f} "
            f"({ratios[0]:.3f} to {ratios[-1]:.3f}, {TURNS} pairs); serving took {100 * share:.1f} % of a core",
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
