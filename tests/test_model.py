import hashlib
import json
import os
import pickle
import stat
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neocog import Model, ModelFileError, Network, RunError, load
from neocog import model as model_file
from neocog.data import Dataset, Preprocessing
from neocog.files import canonical
from neocog.initialise import initialise

TEXT = "INPUT[8x8x1] -> CONV3-4 -> BN -> RELU -> POOL2 -> FC3"


def a_model(seed: int = 0, text: str = TEXT) -> Model:
    network = Network.parse(text)
    images = np.random.default_rng(seed).integers(0, 256, (12, 8, 8, 1), dtype=np.uint8)
    data = Dataset("noise", "train", images, np.arange(12) % 3, ("one", "two", "three ✓"))
    preprocessing = Preprocessing.learn(data, network.input_shape)
    weights = initialise(network, seed, "he")
    record = {"epochs": 3, "test_accuracy": 0.5, "lr": 1e-05, "history": [[1, 2.5], [2, None]]}
    return Model(network, weights, preprocessing, data.classes, "cross-entropy", record).with_golden(data)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return a_model().save(tmp_path_factory.mktemp("model") / "model.safetensors").read_bytes()


def parts(content: bytes) -> tuple[dict[str, Any], bytes]:
    """The header and the array bytes of a safetensors file."""
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def joined(header: Any, arrays: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + arrays


def with_document(content: bytes, change: Callable[[dict[str, Any]], Any], *, signed: bool = True) -> bytes:
    """The file with its description changed, and its checksum made right again so that only the change is wrong."""
    header, arrays = parts(content)
    document = json.loads(header["__metadata__"]["neocog"])
    change(document)
    if signed:
        document.pop("sha256", None)
        digest = hashlib.sha256(canonical(document).encode())
        kinds = {"F32": "<f4", "U8": "|u1"}
        for name in sorted(header.keys() - {"__metadata__"}):
            entry = header[name]
            start, stop = entry["data_offsets"]
            digest.update(f"{name} {kinds[entry['dtype']]} {tuple(entry['shape'])}\n".encode() + arrays[start:stop])
        document["sha256"] = digest.hexdigest()
    header["__metadata__"]["neocog"] = canonical(document)
    return joined(header, arrays)


def with_header(content: bytes, change: Callable[[dict[str, Any]], Any]) -> bytes:
    header, arrays = parts(content)
    change(header)
    return joined(header, arrays)


# What comes back


def test_a_loaded_model_is_the_saved_one(tmp_path: Path) -> None:
    model = a_model()
    again = load(model.save(tmp_path / "m.safetensors"))
    assert again.network == model.network
    assert again.preprocessing == model.preprocessing
    assert (again.classes, again.loss, again.record) == (model.classes, model.loss, model.record)
    assert again.weights.keys() == model.weights.keys()
    for name, array in model.weights.items():
        np.testing.assert_array_equal(again.weights[name], array)
        assert again.weights[name].dtype == np.float32
    for got, wanted in zip(again.golden, model.golden, strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_predictions_are_identical_after_save_and_load(tmp_path: Path) -> None:
    model = a_model()
    x = np.random.default_rng(1).normal(size=(9, 1, 8, 8)).astype(np.float32)
    again = load(model.save(tmp_path / "m.safetensors"))
    np.testing.assert_array_equal(again.scores(x), model.scores(x))
    assert again.golden_error() == 0.0


def test_saving_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = (a_model().save(tmp_path / name).read_bytes() for name in ("a", "b"))
    assert first == second
    assert load(tmp_path / "a").save(tmp_path / "c").read_bytes() == first


def test_a_model_without_examples_can_be_kept_too(tmp_path: Path) -> None:
    again = load(replace(a_model(), golden=None).save(tmp_path / "m"))
    assert again.golden is None
    assert again.golden_error() == 0.0


def test_changed_weights_show_in_the_stored_examples() -> None:
    model = a_model()
    changed = replace(model, weights={name: array * 1.5 for name, array in model.weights.items()})
    assert changed.golden_error() > 0.01


def test_the_torch_module_has_the_weights_and_is_ready_to_predict() -> None:
    model = a_model()
    module = model.module()
    assert not module.training
    np.testing.assert_array_equal(module.state_dict()["conv1.weight"].numpy(), model.weights["conv1.weight"])


def test_loading_runs_no_torch(tmp_path: Path) -> None:
    path = a_model().save(tmp_path / "m.safetensors")
    code = f"import sys, neocog; neocog.load({str(path)!r}); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# Writing


def test_a_folder_that_does_not_exist_is_made(tmp_path: Path) -> None:
    assert load(a_model().save(tmp_path / "new" / "run" / "m.safetensors")).loss == "cross-entropy"


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match=r"file/m\.safetensors: this file cannot be written\n  received: "):
        a_model().save(tmp_path / "file" / "m.safetensors")


@pytest.mark.parametrize("name", ["m" * 255, "模" * 85])
def test_a_file_may_have_the_longest_name_there_is(tmp_path: Path, name: str) -> None:
    a_model().save(tmp_path / name)
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = a_model(seed=0).save(tmp_path / "m.safetensors")
    before = path.read_bytes()

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match="No space left on device"):
        a_model(seed=1).save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]


def test_an_interrupted_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(source: str, target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        a_model().save(tmp_path / "m.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_content_is_on_the_disk_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = []
    sync, rename = os.fsync, os.replace

    def synced(handle: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        sync(handle)

    def renamed(source: str, target: Path) -> None:
        steps.append("rename")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", renamed)
    a_model().save(tmp_path / "m.safetensors")
    assert steps == ["file", "rename", "folder"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": ("one", "two")}, "2 class names for 3 outputs"),
        ({"loss": "guess"}, "the loss is not known"),
        ({"weights": {}}, "arrays that the network needs are missing"),
        ({"network": Network.parse(TEXT.replace("8x8", "6x6"))}, "the preprocessing does not lead to the network's"),
    ],
)
def test_parts_that_do_not_fit_are_not_saved(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelFileError, match=message):
        replace(a_model(), **change).save(tmp_path / "m.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_no_numbers_are_not_saved(tmp_path: Path) -> None:
    model = a_model()
    weights = {**model.weights, "fc1.bias": np.full(3, np.nan, np.float32)}
    with pytest.raises(ModelFileError, match=r"^fc1\.bias holds values that are not finite"):
        replace(model, weights=weights).save(tmp_path / "m.safetensors")
    assert list(tmp_path.iterdir()) == []


# Files that are no model, or no longer one


class Payload:
    """Unpickling it would create a file."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> Any:
        return (Path.touch, (self.witness,))


def a_zip(tmp_path: Path) -> bytes:
    with zipfile.ZipFile(tmp_path / "archive", "w") as archive:
        archive.writestr("data.pkl", pickle.dumps(Payload(tmp_path / "witness")))
    return (tmp_path / "archive").read_bytes()


FOREIGN: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "empty": (lambda _: b"", "this file is empty"),
    "short": (lambda _: b"\x10\0\0", "this is something else"),
    "text": (lambda _: b"INPUT[28x28x1] -> FC10\n" * 9, "this is something else"),
    "pickle": (lambda p: pickle.dumps(Payload(p / "witness"), 4), "this is a pickle, and was not opened further"),
    "old pickle": (lambda p: pickle.dumps(Payload(p / "witness"), 2), "this is a pickle"),
    "zip": (a_zip, "this is a zip archive, as torch.save writes, and was not opened further"),
    "png": (lambda _: b"\x89PNG\r\n\x1a\n" + bytes(50), "this is a PNG image"),
    "numpy": (lambda _: b"\x93NUMPY\x01\0" + bytes(50), "this is a NumPy array"),
    "hdf5": (lambda _: b"\x89HDF\r\n\x1a\n" + bytes(50), "this is an HDF5 file, as Keras writes"),
    "other safetensors": (lambda _: joined({"__metadata__": {"format": "pt"}}, b""), "was not written by neocog"),
    "no metadata": (lambda _: joined({}, b""), "was not written by neocog"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_file_is_refused_with_what_it_is(tmp_path: Path, name: str) -> None:
    make, message = FOREIGN[name]
    path = tmp_path / "m.safetensors"
    path.write_bytes(make(tmp_path))
    before = sorted(p.name for p in tmp_path.iterdir())
    with pytest.raises(ModelFileError) as caught:
        load(path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    assert sorted(p.name for p in tmp_path.iterdir()) == before  # nothing ran, nothing was written


def twice(header: bytes) -> bytes:
    return header[:-1] + b', "fc1.bias": {}}'


DAMAGED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "cut in header": (lambda c: c[:300], "this file is cut off within its header"),
    "cut in arrays": (lambda c: c[:-7], "this file is cut off\n  received: "),
    "something appended": (lambda c: c + b"PK\x03\x04", "there is something behind the arrays"),
    "huge header": (lambda c: struct.pack("<Q", 2**63) + c[8:], "a header has at most 4,194,304 bytes"),
    "header no JSON": (lambda c: c[:20] + b"\x00" + c[21:], "the header is damaged: it is not JSON"),
    "deep header": (lambda c: joined(b'{"a":' + b"[" * 200_000, b""), "the header is damaged: it is not JSON"),
    "name twice": (
        lambda c: joined(twice(json.dumps(parts(c)[0]).encode()), parts(c)[1]),
        "the header is damaged: it is not JSON with each name once",
    ),
    "entry no object": (lambda c: with_header(c, lambda h: h.update(x=3)), "it does not describe arrays"),
    "array missing": (
        lambda c: with_header(c, lambda h: h.pop("fc1.bias")),
        "arrays that the network needs are missing\n  received: fc1.bias",
    ),
    "array too many": (
        lambda c: with_header(c, lambda h: h.update({"fc9.bias": h["fc1.bias"]})),
        "there are arrays that the network does not have\n  received: fc9.bias",
    ),
    "wrong shape": (
        lambda c: with_header(c, lambda h: h["fc1.bias"].update(shape=[1, 3])),
        "fc1.bias is F32 [3]\n  received: F32 [1, 3]",
    ),
    "wrong type": (lambda c: with_header(c, lambda h: h["fc1.bias"].update(dtype="I32")), "received: I32 [3]"),
    "overlapping arrays": (
        lambda c: with_header(c, lambda h: h["fc1.bias"].update(data_offsets=h["bn1.bias"]["data_offsets"])),
        "the header is damaged\n  received: ",
    ),
    "a million examples": (
        lambda c: with_header(c, lambda h: h["golden/input"].update(shape=[10**6, 8, 8, 1])),
        "golden/input is U8 [4, 8, 8, 1]",
    ),
    "one bit of a weight": (lambda c: c[:-1] + bytes([c[-1] ^ 1]), "the checksum differs"),
    "a class renamed": (
        lambda c: with_document(c, lambda d: d.update(classes=["x", "y", "z"]), signed=False),
        "this is not what was saved: the checksum differs",
    ),
    "a space more": (
        lambda c: with_header(
            c, lambda h: h["__metadata__"].update(neocog=h["__metadata__"]["neocog"].replace(":", ": ", 1))
        ),
        "the description is damaged: it is not as it was written",
    ),
    "newer format": (
        lambda c: with_document(c, lambda d: d.update(format=2)),
        "the file has format 2, this neocog reads up to 1\n  try: a newer neocog",
    ),
    "no format": (lambda c: with_document(c, lambda d: d.pop("format")), "it names no format"),
    "network misspelled": (
        lambda c: with_document(c, lambda d: d.update(network="INPUT[8x8x1] -> KONV3-4")),
        "the network in the file cannot be used",
    ),
    "network missing": (lambda c: with_document(c, lambda d: d.pop("network")), "the network in the file cannot be"),
    "network of another size": (
        lambda c: with_document(c, lambda d: d.update(network=TEXT.replace("CONV3-4", "CONV3-5"))),
        "conv1.weight is F32 [5, 1, 3, 3]\n  received: F32 [4, 1, 3, 3]",
    ),
    "enormous network": (
        lambda c: with_document(c, lambda d: d.update(network="INPUT[8x8x1] -> FC999999999 -> FC3")),
        "arrays that the network needs are missing",
    ),
    "too few classes": (
        lambda c: with_document(c, lambda d: d.update(classes=["x"])),
        "1 class name for 3 outputs",
    ),
    "classes no list": (lambda c: with_document(c, lambda d: d.update(classes="xyz")), "the class names are damaged"),
    "unknown loss": (lambda c: with_document(c, lambda d: d.update(loss="guess")), "the loss is not known"),
    "no record": (lambda c: with_document(c, lambda d: d.pop("record")), "the training record is damaged"),
    "preprocessing": (
        lambda c: with_document(c, lambda d: d["preprocessing"].update(std=[0])),
        "the preprocessing is damaged",
    ),
    "preprocessing of another size": (
        lambda c: with_document(c, lambda d: d["preprocessing"].update(size=[9, 9])),
        "the preprocessing does not lead to the network's input",
    ),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_refused_with_the_reason(tmp_path: Path, saved: bytes, name: str) -> None:
    change, message = DAMAGED[name]
    path = tmp_path / "m.safetensors"
    path.write_bytes(change(saved))
    with pytest.raises(ModelFileError) as caught:
        load(path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path, saved: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    header, arrays = parts(saved)
    start, stop = header["fc1.bias"]["data_offsets"]
    poisoned = joined(header, arrays[:start] + struct.pack("<3f", 0, float("inf"), 0) + arrays[stop:])
    path = tmp_path / "m.safetensors"
    path.write_bytes(with_document(poisoned, lambda d: None))
    with pytest.raises(ModelFileError, match=r"fc1\.bias holds values that are not finite numbers"):
        load(path)


def test_a_description_of_any_depth_is_refused(tmp_path: Path, saved: bytes) -> None:
    header, arrays = parts(saved)
    text, path = header["__metadata__"]["neocog"], tmp_path / "m.safetensors"
    limit = sys.getrecursionlimit()
    for depth in range(limit - 150, limit):
        nested = text.replace('"history":', f'"deep":{"[" * depth}{"]" * depth},"history":')
        path.write_bytes(joined({**header, "__metadata__": {"neocog": nested}}, arrays))
        with pytest.raises(ModelFileError, match=r"damaged|the checksum differs"):
            load(path)


def test_every_flipped_bit_is_noticed(tmp_path: Path, saved: bytes) -> None:
    path = tmp_path / "m.safetensors"
    generator = np.random.default_rng(2024)
    unnoticed = []
    for place in generator.choice(len(saved), 400, replace=False):
        damaged = bytearray(saved)
        damaged[place] ^= 1 << int(generator.integers(8))
        path.write_bytes(damaged)
        try:
            load(path)
        except ModelFileError:
            continue
        unnoticed.append(int(place))
    assert unnoticed == []


def test_every_cut_is_noticed(tmp_path: Path, saved: bytes) -> None:
    path = tmp_path / "m.safetensors"
    for length in np.linspace(0, len(saved) - 1, 100).astype(int):
        path.write_bytes(saved[:length])
        with pytest.raises(ModelFileError):
            load(path)


def test_a_hostile_file_takes_no_memory_to_refuse(tmp_path: Path, saved: bytes) -> None:
    """Arrays that would fill the memory are refused from the header: the file that claims them is small."""
    text = "INPUT[8x8x1] -> FC900000 -> FC900000 -> FC3"
    network = Network.parse(text)
    shapes = model_file.weight_shapes(network)
    header, _ = parts(with_document(saved, lambda d: d.update(network=text)))
    entries: dict[str, Any] = {"__metadata__": header["__metadata__"]}
    end = 0
    for name, entry in shapes.items():
        start, end = end, end + 4 * int(np.prod(entry["shape"], dtype=object))
        entries[name] = {**entry, "data_offsets": [start, end]}
    path = tmp_path / "m.safetensors"
    path.write_bytes(joined(entries, b""))
    tracemalloc.start()
    try:
        with pytest.raises(
            ModelFileError, match=r"this file is cut off\n  received: 0 bytes of arrays instead of 3,24"
        ):
            load(path)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Path.mkdir, "this is a folder, not a model file\n  try: the model.safetensors in it"),
        (os.mkfifo, "this is not a regular file"),
        (
            lambda path: None,
            "this file cannot be read\n  received: No such file or directory\n"
            "  try: the model.safetensors of a training run",
        ),
    ],
    ids=["folder", "pipe", "nothing"],
)
def test_what_is_no_file_is_refused(tmp_path: Path, make: Callable[[Path], None], message: str) -> None:
    make(tmp_path / "m")
    with pytest.raises(ModelFileError) as caught:
        load(tmp_path / "m")
    assert str(caught.value) == f"{tmp_path / 'm'}: {message}"
