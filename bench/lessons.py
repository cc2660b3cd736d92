"""How long each lesson takes, from the command to the picture, and the pictures of both pages on lessons.

    bench/lessons.py [--write] [--limit 20]

Each is a process of its own, as people start it, once in English and once in Chinese. `--write` keeps the pictures
where docs/lessons.md and docs/lessons.zh-CN.md show them, and puts the longest time into both: for a machine that does
nothing else. Exits with 1 where a lesson took longer than promised, or one of its claims does not hold.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from dense import processor
from page import DOCS, write

from neocog.lessons import LANGUAGES, LESSONS, Text

PICTURES = {"en": DOCS / "images/lessons", "zh": DOCS / "images/lessons/zh"}
PAGES = {"en": DOCS / "lessons.md", "zh": DOCS / "lessons.zh-CN.md"}
LONGEST = Text(
    "The longest took {0:.1f} s (`{1}`), all ten {2:.0f} s, each as a process of its own on {3}. "
    "Again: `.venv/bin/python bench/lessons.py --write`.",
    "在 {3} 上，每课各用一个进程，最长的一课用了 {0:.1f} 秒（`{1}`），十课共 {2:.0f} 秒。"
    "重新测量：`.venv/bin/python bench/lessons.py --write`。",
)


def seconds(lesson: str, language: str, folder: Path) -> float:
    """How long the command takes. Raises CalledProcessError where it fails, or a claim does."""
    picture = folder / f"{lesson}.png"
    start = perf_counter()
    command = [sys.executable, "-m", "neocog", "demo", lesson, "--lang", language, "-o", str(picture)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--limit", type=float, default=20.0, help="the seconds that are promised")
    args = parser.parse_args()
    longest = 0.0
    with TemporaryDirectory() as nowhere:
        for language in LANGUAGES:
            folder = PICTURES[language] if args.write else Path(nowhere)
            folder.mkdir(exist_ok=True)
            times = {lesson.name: seconds(lesson.name, language, folder) for lesson in LESSONS}
            for name, time in times.items():
                print(f"{time:6.2f} s  {name} --lang {language}")
            slowest = max(times, key=times.__getitem__)
            longest = max(longest, times[slowest])
            if args.write:
                said = LONGEST.filled(times[slowest], slowest, sum(times.values()), processor())
                write("bench/lessons.py", [said.said(language)], PAGES[language])
    sys.exit(f"slower than {args.limit:g} s" if longest >= args.limit else 0)


if __name__ == "__main__":
    main()
