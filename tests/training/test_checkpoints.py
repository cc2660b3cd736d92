"""Checkpoint files: what is damaged or hostile is refused, and the one before is used."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import random
import shutil
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from neocog import ModelFileError, NeocogError, Network, RunError, load, train
from neocog.files import HEADER_BYTES, canonical
from neocog.training.checkpoint import checkpoint_files, newest, read_checkpoint
from neocog.training.keeper import Keeping

NET = Network.parse("INPUT[28x28x1] -> POOL4 -> CONV3-2 -> BN -> RELU -> POOL7 -> FC10")
SEED = random.SystemRandom().randrange(10**6)
PLACES = ("step", "epoch", "done", "logs")


@pytest.fixture(scope="module")
def run(digits, tmp_path_factory):
    """The folder of a run of three epochs."""
    out = tmp_path_factory.mktemp("runs") / "run"
    train(NET, digits, epochs=3, batch_size=64, engine="native", keep_checkpoints=3, out=out, progress="none")
    return out


@pytest.fixture
def folder(run, tmp_path):
    return Path(shutil.copytree(run / "checkpoints", tmp_path / "checkpoints"))


def parts(content):
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def joined(header, arrays):
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + arrays


def forged(content, change):
    """The file with its document and arrays changed, and its checksum made right again."""
    header, data = parts(content)
    document = json.loads(header.pop("__metadata__")["neocog-checkpoint"])
    arrays = {
        name: np.frombuffer(data[slice(*e["data_offsets"])], {"F32": "<f4", "I64": "<i8"}[e["dtype"]]).reshape(
            e["shape"]
        )
        for name, e in header.items()
    }
    change(document, arrays)
    document.pop("sha256", None)
    digest, header, data = hashlib.sha256(canonical(document).encode()), {}, b""
    for name in sorted(arrays):
        array, kind = arrays[name], {"f4": "F32", "i8": "I64", "f8": "F64"}[arrays[name].dtype.str[1:]]
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode() + array.tobytes())
        start, data = len(data), data + array.tobytes()
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [start, len(data)]}
    document["sha256"] = digest.hexdigest()
    return joined({**header, "__metadata__": {"neocog-checkpoint": canonical(document)}}, data)


def test_checkpoints_are_in_the_order_of_steps_whatever_their_times_say(folder):
    files = checkpoint_files(folder)
    assert [path.name for path in files] == [f"step-{step:08}.safetensors" for step in (6, 12, 18)]
    for age, path in enumerate(files):  # the newest is from 1970
        os.utime(path, (1e9 - 4e8 * age, 1e9 - 4e8 * age))
    found, said = newest(folder, NET)
    assert (found.place.step, said) == (18, [])


def test_the_sixty_fourth_million_comes_after_the_ninth(tmp_path):
    names = [f"step-{step:08}.safetensors" for step in (999_999_999, 64_000_000, 9_000_000, 1_000_000_000)]
    for name in names:
        (tmp_path / name).touch()
    assert [path.name for path in checkpoint_files(tmp_path)] == [names[k] for k in (2, 1, 0, 3)]


def check_damaged(folder, count_flips, count_cuts):
    path = checkpoint_files(folder)[-1]
    content, rng = path.read_bytes(), random.Random(SEED)
    damaged = []
    for _ in range(count_flips):
        place = rng.randrange(8 * len(content))
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        damaged.append((f"bit {place}", bytes(flipped)))
    damaged += [(f"{length} bytes", content[:length]) for length in [0, *rng.sample(range(len(content)), count_cuts)]]
    for what, broken in damaged:
        path.write_bytes(broken)
        with pytest.raises(ModelFileError):
            read_checkpoint(path, NET)
        found, said = newest(folder, NET)
        assert (found.place.step, len(said)) == (12, 1), (SEED, what)
        assert said[0].startswith("step-00000018.safetensors is not used: ")
    path.write_bytes(content)
    assert newest(folder, NET)[0].place.step == 18


def test_every_flipped_bit_and_every_cut_is_found(folder):
    check_damaged(folder, 80, 20)


@pytest.mark.slow
def test_a_thousand_flipped_bits_and_two_hundred_cuts_are_found(folder):
    check_damaged(folder, 1000, 200)


def test_files_that_were_swapped_are_found(folder):
    _, second, third = checkpoint_files(folder)
    middle = second.read_bytes()
    second.write_bytes(third.read_bytes())
    third.write_bytes(middle)
    found, said = newest(folder, NET)
    assert found.place.step == 6
    assert [line.partition(": ")[2] for line in said] == ["this is not the checkpoint that its name says"] * 2


def test_where_none_is_whole_that_is_said(folder):
    for path in checkpoint_files(folder):
        path.write_bytes(b"")
    with pytest.raises(RunError, match="no checkpoint is whole"):
        newest(folder, NET)
    assert newest(folder / "none", NET) == (None, [])


class Sentinel:
    """A pickle that leaves a file behind where it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def put(name, value):
    return lambda content: forged(content, lambda document, arrays: arrays.update({name: value}))


def say(**values):
    return lambda content: forged(content, lambda document, arrays: document.update(values))


def header_with(**entries):
    def changed(content):
        header, arrays = parts(content)
        return joined({**header, **entries}, arrays)

    return changed


def deep(content):
    text = b"[" * 100_000
    return struct.pack("<Q", len(text)) + b"{" + text[1:]


def not_numbers(document, arrays):
    name = "weights/fc1.bias"
    arrays[name] = np.full_like(arrays[name], np.nan)


HOSTILE = {
    "header of 2^63 bytes": lambda content: struct.pack("<Q", 1 << 63) + content[8:],
    "header larger than allowed": lambda content: struct.pack("<Q", HEADER_BYTES + 1) + b"{" + b" " * HEADER_BYTES,
    "overlapping arrays": header_with(
        **{name: {"dtype": "I64", "shape": [], "data_offsets": [0, 8]} for name in ("steps", "updates")}
    ),
    "a million arrays": lambda _: joined({f"weights/a{k}": {} for k in range(40_000)}, b""),
    "deep JSON": deep,
    "an array of 2^62 numbers": header_with(
        **{"weights/fc1.bias": {"dtype": "F32", "shape": [1 << 62], "data_offsets": [0, 1 << 64]}}
    ),
    "an unknown dtype": header_with(**{"weights/fc1.bias": {"dtype": "F7", "shape": [10], "data_offsets": [0, 40]}}),
    "a shape that is none": header_with(**{"weights/fc1.bias": {"dtype": "F32", "shape": "10"}}),
    "weights that are not numbers": lambda content: forged(content, not_numbers),
    "weights of another shape": put("weights/fc1.bias", np.zeros(11, np.float32)),
    "weights of another dtype": put("weights/fc1.bias", np.zeros(10, np.float64)),
    "arrays that no network has": put("weights/fc7.bias", np.zeros(10, np.float32)),
    "a place that is none": say(step=-1),
    "a step that is no number": say(step="18"),
    "a mean that is no number": say(whole={"images": 1, "right": 1, "total_loss": 1e999, "seconds": 0.0}),
    "no configuration": say(config=7),
    "settings that are none": say(config={"settings": [], "data": {}}),
    "a format to come": say(format=2),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_checkpoint_is_refused_before_it_can_do_harm(what, folder):
    path = checkpoint_files(folder)[-1]
    path.write_bytes(HOSTILE[what](path.read_bytes()))
    tracemalloc.start()
    try:
        with pytest.raises(ModelFileError) as refused:
            read_checkpoint(path, NET)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 64 * 2**20
    assert refused.value.where == str(path)
    assert newest(folder, NET)[0].place.step == 12


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_pickle_is_not_opened(protocol, folder, tmp_path):
    path, sentinel = checkpoint_files(folder)[-1], tmp_path / "sentinel"
    path.write_bytes(pickle.dumps(Sentinel(sentinel), protocol))
    with pytest.raises(ModelFileError, match="this is a pickle, and was not opened further"):
        read_checkpoint(path, NET)
    assert not sentinel.exists()


def test_too_many_kinds_of_arrays_are_refused(folder):
    path = checkpoint_files(folder)[-1]
    kinds = {f"kind{k}/fc1.bias": np.zeros(10, np.float32) for k in range(9)}
    path.write_bytes(forged(path.read_bytes(), lambda _, arrays: arrays.update(kinds)))
    with pytest.raises(ModelFileError, match="at most 8 kinds"):
        read_checkpoint(path, NET)


def test_forging_alone_is_no_reason_to_refuse(folder):
    """So that the cases above are refused for what they are about."""
    path = checkpoint_files(folder)[-1]
    path.write_bytes(forged(path.read_bytes(), lambda document, arrays: None))
    assert read_checkpoint(path, NET).place.step == 18


def test_a_model_is_no_checkpoint_and_a_checkpoint_no_model(run):
    with pytest.raises(ModelFileError, match="this is no checkpoint"):
        read_checkpoint(run / "model.safetensors", NET)
    with pytest.raises(ModelFileError, match="was not written by neocog as a model"):
        load(checkpoint_files(run / "checkpoints")[-1])


def test_a_checkpoint_says_all_that_it_was_given(run, tmp_path):
    found = read_checkpoint(checkpoint_files(run / "checkpoints")[1], NET)
    found.save(tmp_path)
    again = read_checkpoint(tmp_path / "step-00000012.safetensors", NET)
    for name in PLACES:
        assert getattr(again.place, name) == getattr(found.place, name)
    assert (again.config, again.resumed) == (found.config, ())
    for name, array in found.state.items():
        np.testing.assert_array_equal(again.state[name], array, strict=True)


@pytest.mark.parametrize("bad", [(0, 5.0), (2, -1.0), (2, float("nan"))])
def test_less_than_one_checkpoint_cannot_be_kept(bad):
    with pytest.raises(NeocogError, match="one checkpoint or more is kept"):
        Keeping(*bad)
