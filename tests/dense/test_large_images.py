"""Images larger than memory, and maps on the disk that a kill does not spoil."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from dense_models import PADDED, model_of, picture
from image_bombs import REFUSED
from PIL import Image

from neocog import DataError, RunError
from neocog.data.decode import decode
from neocog.data.raster import Filed, Held, open_raster
from neocog.dense import score
from neocog.dense.store import Store

ROOT = Path(__file__).parents[2]


def npy(header: str) -> bytes:
    return b"\x93NUMPY\x01\x00\x76\x00" + f"{{{header}, }}".encode().ljust(117) + b"\n"


def written(folder: Path, name: str, image: np.ndarray, **how) -> Path:
    path = folder / name
    if name.endswith(".npy"):
        np.save(path, image)
    else:
        Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(path, **how)
    return path


@pytest.mark.parametrize(
    ("name", "channels", "how"),
    [
        ("a.npy", 1, {}),
        ("a.npy", 3, {}),
        ("a.pgm", 1, {}),
        ("a.ppm", 3, {}),
        ("a.bmp", 3, {}),
        ("a.tif", 1, {}),
        ("a.tiff", 3, {}),
    ],
)
def test_files_of_plain_rows_are_read_in_parts(tmp_path, name, channels, how):
    image = picture(37, 53, channels)
    path = written(tmp_path, name, image, **how)
    raster, notes = open_raster(path)
    assert isinstance(raster, Filed)
    assert (raster.shape, notes) == (image.shape, ())
    assert np.array_equal(raster.read(slice(5, 20), slice(11, 40)), image[5:20, 11:40])
    if not name.endswith(".npy"):
        assert np.array_equal(raster.read(slice(0, 37), slice(0, 53)), decode(path))


@pytest.mark.parametrize(
    ("name", "channels", "how"),
    [
        ("a.png", 3, {}),
        ("a.jpg", 1, {}),
        ("a.bmp", 1, {}),
        ("a.tif", 3, {"compression": "tiff_lzw"}),
        ("a.webp", 3, {"lossless": True}),
    ],
)
def test_others_are_decoded(tmp_path, name, channels, how):
    path = written(tmp_path, name, picture(37, 53, channels), **how)
    raster, _ = open_raster(path)
    assert isinstance(raster, Held)
    assert np.array_equal(raster.pixels, decode(path))


def test_rows_from_the_top_and_white_that_is_0_are_understood(tmp_path):
    image = picture(9, 5, 3)
    content = bytearray(written(tmp_path, "a.bmp", image).read_bytes())
    content[22:26] = (-9).to_bytes(4, "little", signed=True)
    rows = [content[54 + 16 * k : 70 + 16 * k] for k in range(9)]
    (tmp_path / "down.bmp").write_bytes(bytes(content[:54]) + b"".join(reversed(rows)))
    raster, _ = open_raster(tmp_path / "down.bmp")
    assert isinstance(raster, Filed)
    assert np.array_equal(raster.read(slice(0, 9), slice(0, 5)), image)
    grey = picture(9, 5)
    path = written(tmp_path, "white.tif", grey)
    with Image.open(path) as opened:
        tags = opened.tag_v2
        tags[262] = 0
        opened.save(tmp_path / "inverted.tif", tiffinfo=tags)
    raster, _ = open_raster(tmp_path / "inverted.tif")
    assert np.array_equal(raster.read(slice(0, 9), slice(0, 5)), decode(tmp_path / "inverted.tif"))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"P6\n60000 60000\n255\n", "at most 64 megapixels"),
        (b"P5\n300 200\n255\n1234", "cut off within its pixels"),
        (npy("'descr': '|u1', 'fortran_order': False, 'shape': (99999, 99999)"), "64 megapixels"),
        (npy("'descr': '|u1', 'fortran_order': True, 'shape': (9, 9)"), "an array as an image is bytes"),
        (npy("'descr': '<f4', 'fortran_order': False, 'shape': (9, 9)"), "an array as an image is bytes"),
        (npy("'descr': '|O', 'fortran_order': False, 'shape': (9, 9)"), "an array as an image is bytes"),
        (npy("'descr': '|u1', 'fortran_order': False, 'shape': (9, 0)"), "an array as an image is bytes"),
        (npy("'descr': '|u1', 'shape': 9"), "the header of this array is damaged"),
        (b"\x93NUMPY\x01\x00\x76\x00" + b"[" * 118, "the header of this array is damaged"),
        (b"\x93NUMPY\x01", "damaged"),
        (b"", "this file is empty"),
        (b"hello", "not an image in a known format"),
    ],
)
def test_files_that_lie_are_refused(tmp_path, content, says):
    path = tmp_path / "image"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        open_raster(path)
    assert says in caught.value.rule
    assert str(path) == caught.value.where


@pytest.mark.parametrize("kind", REFUSED)
def test_bombs_are_refused_here_too(tmp_path, kind):
    content, rule = REFUSED[kind]
    path = tmp_path / "image"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        open_raster(path)
    assert caught.value.rule == rule


@pytest.mark.parametrize("name", ["a.tif", "a.bmp", "a.ppm", "a.npy"])
def test_a_file_with_any_changed_bytes_is_read_or_refused(tmp_path, name):
    content = written(tmp_path, name, picture(9, 11, 3)).read_bytes()
    generator = np.random.default_rng(0)
    path = tmp_path / "changed"
    read = 0
    for _ in range(150):
        changed = bytearray(content)
        for place in generator.integers(0, min(len(content), 400), 3):
            changed[place] = generator.integers(0, 256)
        path.write_bytes(bytes(changed))
        try:
            raster, _ = open_raster(path, 10**6)
            height, width, channels = raster.shape
            assert raster.read(slice(0, height), slice(0, width)).shape == (height, width, channels)
            read += 1
        except DataError:
            pass
    assert read > 0


def test_more_pixels_are_read_where_they_are_allowed(tmp_path, monkeypatch):
    monkeypatch.setattr("neocog.data.decode.PIXELS", 1000)
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 1000)
    path = written(tmp_path, "a.png", picture(50, 60))
    with pytest.raises(DataError, match=r"at most 0.001 megapixels"):
        open_raster(path, 1000)
    raster, _ = open_raster(path, 3000)
    assert raster.shape == (50, 60, 1)
    assert Image.MAX_IMAGE_PIXELS == 1000
    with pytest.raises(DataError, match=r"at most 0.0029 megapixels"):
        open_raster(path, 2900)


TILED = PADDED["VGG"][0].replace("16x16x3", "16x16x1")


def small_tiles(monkeypatch):
    from neocog.dense.tiles import Tiling

    monkeypatch.setattr(Tiling, "largest", lambda self: 2**40 if max(self.side) > 3 else 0)


def test_a_map_in_a_file_is_the_map(tmp_path, monkeypatch):
    model, image = model_of(TILED), picture(70, 90)
    whole = score(model, image, stride=2)
    small_tiles(monkeypatch)
    seen = []
    filed = score(
        model, image, stride=2, into=tmp_path / "map.npy", told=lambda done, tiles: seen.append((done, tiles))
    )
    assert filed.tiling.count == len(seen) > 8
    assert seen[-1] == (len(seen), len(seen))
    assert np.load(tmp_path / "map.npy", allow_pickle=False) == pytest.approx(whole.scores, abs=1e-5)
    assert [path.name for path in tmp_path.iterdir()] == ["map.npy"]
    assert filed.window(1, 1) == whole.window(1, 1)


def test_a_map_that_was_left_is_gone_on_with_and_damage_is_made_again(tmp_path, monkeypatch):
    model, image = model_of(TILED), picture(70, 90)
    small_tiles(monkeypatch)
    path = tmp_path / "map.npy"
    whole = score(model, image).scores
    count = score(model, image).tiling.count

    def stop_at(number):
        def told(done, tiles):
            if done == number:
                raise KeyboardInterrupt

        return told

    with pytest.raises(KeyboardInterrupt):
        score(model, image, into=path, told=stop_at(5))
    assert not path.exists()
    part, journal = tmp_path / ".map.npy.part", tmp_path / ".map.npy.journal"
    assert len(journal.read_text().splitlines()) == 6
    journal.write_text(journal.read_text() + "[6, 12")  # cut off while it was written
    content = bytearray(part.read_bytes())
    content[300:340] = bytes(40)  # a tile is not as it was
    part.write_bytes(bytes(content))
    made = []
    original = type(score(model, image).tiling).scores
    monkeypatch.setattr(
        "neocog.dense.tiles.Tiling.scores", lambda self, block, read: made.append(block) or original(self, block, read)
    )
    found = score(model, image, into=path)
    assert count - 5 < len(made) < count
    assert found.scores == pytest.approx(whole, abs=1e-6)
    with pytest.raises(KeyboardInterrupt):
        score(model, image, into=path, told=stop_at(3))
    made.clear()
    other = score(model, 255 - image, into=path)  # other work: nothing of it is used
    assert len(made) == count
    assert other.scores == pytest.approx(score(model, 255 - image).scores, abs=1e-6)


KILLED = """
import itertools, os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import torch
from dense_models import model_of, picture
from neocog.dense import score
from neocog.dense.tiles import Tiling

torch.set_num_threads(1)
Tiling.largest = lambda self: 2**40 if max(self.side) > 3 else 0
model, image, path = model_of({text!r}), picture(40, 40), Path(sys.argv[1])

def work(at):
    calls = itertools.count(1)
    for name in ("fsync", "replace", "ftruncate", "write", "open", "unlink"):
        def dying(*arguments, original=getattr(os, name), **more):
            if next(calls) == at:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments, **more)
        setattr(os, name, dying)
    score(model, image, into=path)

journal = path.with_name(".map.npy.journal")
for at in map(int, sys.argv[2:]):
    child = os.fork()
    if child == 0:
        work(at)
        os._exit(0)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(at, ended, path.exists(), len(journal.read_text().splitlines()) if journal.exists() else 0)
"""


def test_a_process_killed_at_any_moment_leaves_no_half_map_and_its_work_is_not_lost(tmp_path):
    """Killed before a call that changes files, again and again, each time a little later."""
    script = tmp_path / "killed.py"
    script.write_text(KILLED.format(tests=str(ROOT / "tests"), text=TILED), encoding="utf-8")
    path = tmp_path / "out" / "map.npy"
    moments = [*range(1, 12), 25, 30, 35, 10**6]
    command = [sys.executable, str(script), str(path), *map(str, moments)]
    ended = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    rows = [line.split() for line in ended.stdout.splitlines()]
    assert len(rows) == len(moments), ended.stderr
    *killed, last = rows
    assert all(code == str(-signal.SIGKILL) and whole == "False" for _, code, whole, _ in killed)
    tiles = [int(lines) for *_, lines in killed]
    assert tiles == sorted(tiles)
    assert tiles[-1] > 2
    assert last[1:] == ["0", "True", "0"]
    assert np.load(path) == pytest.approx(score(model_of(TILED), picture(40, 40)).scores, abs=1e-6)
    assert os.listdir(path.parent) == ["map.npy"]


def test_one_process_at_a_time_writes_a_map(tmp_path):
    first = Store(tmp_path / "map.npy", (1, 2, 2), {})
    with pytest.raises(RunError, match="another process is writing this file"):
        Store(tmp_path / "map.npy", (1, 2, 2), {})
    first.close()
    Store(tmp_path / "map.npy", (1, 2, 2), {}).close()


def test_a_file_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="this file cannot be written"):
        Store(tmp_path / "file" / "map.npy", (1, 2, 2), {})


@pytest.mark.slow
def test_an_image_of_400_megapixels_is_scored_in_bounded_memory(tmp_path):
    """400 MB in a file of plain rows; what the process takes at most is asked of the system."""
    side = 20_000
    with (tmp_path / "large.pgm").open("wb") as file:
        file.write(b"P5\n20000 20000\n255\n")
        for k in range(side // 100):
            file.write(picture(100, side, seed=k).tobytes())
    model = model_of(
        "INPUT[64x64x1] -> CONV5-4(S=4, P=0, fit=floor) -> RELU -> POOL2(fit=floor) -> CONV3-4(P=0) -> RELU"
        " -> POOL2(fit=floor) -> FC3"
    )
    model.save(tmp_path / "model.safetensors")
    command = [sys.executable, "-m", "neocog", "predict", "model.safetensors", "large.pgm", "--dense", "--json"]
    small = ["--max-pixels", "400000000", "--memory", "64", "-o", "map.npy"]
    refused = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert refused.returncode == 2
    assert "64 megapixels" in json.loads(refused.stdout)["failed"][0]["error"]
    assert "--max-pixels" in refused.stderr
    np.save(tmp_path / "small.npy", picture(64, 64))
    little = subprocess.run(
        [*command[:5], "small.npy", *command[6:]],
        cwd=tmp_path,
        capture_output=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert little.returncode == 0
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    ended = subprocess.run(
        [*command, *small], cwd=tmp_path, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert ended.returncode == 0, ended.stderr
    (image,) = json.loads(ended.stdout)["images"]
    (one,) = image["maps"]
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    sys.stdout.write(
        f"{before / 1024:.0f} MiB before, {peak / 2**20:.0f} MiB, {one['memory_bytes'] / 2**20:.0f} MiB planned\n"
    )
    sys.stdout.write(f"{one['tiles']} tiles, {one['seconds']:.1f} s\n")
    assert one["size"] == [1247, 1247]
    assert one["tiles"] > 20
    assert one["memory_bytes"] < 70 * 2**20
    assert peak < before * 1024 + one["memory_bytes"] + 64 * 2**20
    assert np.load(tmp_path / "map.npy", mmap_mode="r").shape == (3, 1247, 1247)
