"""State dicts from files: what is read, what is said of it, and what a hostile file cannot do."""

from __future__ import annotations

import json
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from neocog import ModelFileError
from neocog.interop.weights import unpickle
from neocog.interop.weights.state import READER, opened


class Payload:
    """Unpickling it makes a file."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self):
        return os.system, (f"touch '{self.witness}'",)


def refusal(path: Path) -> str:
    with pytest.raises(ModelFileError) as caught, opened(path):
        pass
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value)


STATE = {"conv1.weight": torch.arange(6.0).reshape(2, 3), "bn1.num_batches_tracked": torch.tensor(7)}


def test_a_safetensors_file_is_read_as_float32_whatever_its_type(tmp_path):
    half = {
        "a": torch.tensor([1.5, -2.0], dtype=torch.float16),
        "b": torch.tensor([3.0e38], dtype=torch.bfloat16),
        "c": torch.tensor([0.1], dtype=torch.float64),
        "count": torch.tensor(3),
    }
    save_file(half, tmp_path / "w.safetensors")
    with opened(tmp_path / "w.safetensors") as state:
        dtypes = {name: stored.dtype for name, stored in state.arrays.items()}
        assert dtypes == {"a": "float16", "b": "bfloat16", "c": "float64", "count": "I64"}
        assert {name for name, stored in state.arrays.items() if stored.is_floating} == {"a", "b", "c"}
        for name, stored in state.arrays.items():
            np.testing.assert_array_equal(stored.read(), half[name].float().numpy(), strict=True)


def test_what_torch_saved_is_read_from_its_wrappers_with_what_was_passed_over(tmp_path):
    state = {f"module.{name}": value for name, value in STATE.items()}
    torch.save({"epoch": 3, "model": {"state_dict": {**state, "note": "hello"}}}, tmp_path / "w.pth")
    torch.save({**STATE, "note": "hello"}, tmp_path / "w.bin", _use_new_zipfile_serialization=False)
    with opened(tmp_path / "w.pth") as wrapped, opened(tmp_path / "w.bin") as plain:
        assert plain.notes == ()
        assert plain.ignored == ("note",)
        for found in (wrapped, plain):
            dtypes = {name: array.dtype for name, array in found.arrays.items()}
            assert dtypes == {"conv1.weight": "float32", "bn1.num_batches_tracked": "I64"}
            np.testing.assert_array_equal(found.arrays["conv1.weight"].read(), STATE["conv1.weight"].numpy())
    assert wrapped.ignored == ("note",)
    assert wrapped.notes == (
        "taken from its entry model -> state_dict",
        "beside it there are epoch, which are no part of the network",
        "the prefix module. is left out of all names",
    )


@pytest.mark.parametrize("zipped", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_code_in_a_pickle_does_not_run_and_is_named(zipped, tmp_path, witness):
    torch.save({**STATE, "x": Payload(witness)}, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    message = refusal(tmp_path / "w.pth")
    assert (
        "it holds more than arrays, and only arrays are read\n  received: posix.system\n  try: torch.save(" in message
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["w.pth"]
    torch.load(tmp_path / "w.pth", weights_only=False)  # the code was there and would have run
    assert witness.exists()


def test_an_array_that_claims_more_than_its_file_holds_takes_no_memory(tmp_path):
    torch.save({"w": torch.ones(1).expand(10**12)}, tmp_path / "w.pth")
    message = refusal(tmp_path / "w.pth")
    assert "more memory or room than a file of its size may\n  received: 4000000000000 bytes" in message


@pytest.mark.slow
def test_an_archive_that_unfolds_to_more_than_its_size_takes_no_memory(tmp_path):
    torch.save(STATE, tmp_path / "good.pth")
    with zipfile.ZipFile(tmp_path / "good.pth") as good, zipfile.ZipFile(tmp_path / "w.pth", "w") as bomb:
        for entry in good.infolist():
            content = good.read(entry) if not entry.filename.endswith("data.pkl") else bytes(2**29)
            bomb.writestr(entry.filename, content, zipfile.ZIP_DEFLATED, compresslevel=1)
    assert (tmp_path / "w.pth").stat().st_size < 2**23
    assert "this file cannot be read as weights: it " in refusal(tmp_path / "w.pth")


@pytest.mark.slow
def test_the_reader_lives_with_stricter_limits_that_are_there_already(tmp_path):
    torch.save(STATE, tmp_path / "w.pth")
    command = f"ulimit -t 60 -f 100; exec '{sys.executable}' -P '{READER}' '{tmp_path / 'w.pth'}'"
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b'"conv1.weight"' in done.stdout


@pytest.mark.slow
def test_a_cut_file_is_refused(tmp_path):
    torch.save(STATE, tmp_path / "whole.pth")
    content = (tmp_path / "whole.pth").read_bytes()
    (tmp_path / "w.pth").write_bytes(content[: len(content) // 2])
    assert "it is damaged, or was not written by torch.save" in refusal(tmp_path / "w.pth")


LYING = json.dumps({"a": {"dtype": "F32", "shape": [99], "data_offsets": [0, 396]}}).encode()
OTHERS = {
    "text": (b"weights of a network\n", "weights are a safetensors file or what torch.save writes; this is something"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(50), "this is an HDF5 file, as Keras writes, and was not opened further"),
    "empty": (b"", "this file is empty"),
    "cut": (struct.pack("<Q", 500) + b'{"a"', "this file is cut off within its header"),
    "too little": (struct.pack("<Q", len(LYING)) + LYING, "the header is damaged"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_files_are_refused_without_another_process(kind, tmp_path, monkeypatch):
    content, says = OTHERS[kind]
    (tmp_path / "w.pth").write_bytes(content)
    monkeypatch.setattr("subprocess.run", None)
    assert says in refusal(tmp_path / "w.pth")


def test_what_is_no_file_is_refused(tmp_path):
    assert "No such file" in refusal(tmp_path / "none.pth")
    assert "this is a folder" in refusal(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert "this is not a regular file" in refusal(tmp_path / "pipe")


def test_a_process_that_dies_or_babbles_is_an_explained_failure(tmp_path, monkeypatch):
    torch.save(STATE, tmp_path / "w.pth")
    for program, says in [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "the process that read it was stopped by SIGKILL"),
        ("raise SystemExit('nonsense')", "the process that read it failed\n  received: nonsense"),
        ("print('no safetensors file')", "a model file is a safetensors file; this is something else"),
    ]:
        (tmp_path / "reader.py").write_text(program)
        monkeypatch.setattr("neocog.interop.weights.state.READER", tmp_path / "reader.py")
        assert says in refusal(tmp_path / "w.pth")


def test_a_dict_may_hold_arrays_of_numpy_and_torch_and_other_things():
    source = {"_orig_mod.a": np.ones(2), "_orig_mod.b": torch.ones(1, dtype=torch.bfloat16), "_orig_mod.c": "text"}
    with opened(source) as state:
        assert {name: str(stored) for name, stored in state.arrays.items()} == {"a": "float64 2", "b": "bfloat16 1"}
        assert [stored.read().dtype for stored in state.arrays.values()] == [np.float32, np.float32]
    assert state.ignored == ("_orig_mod.c",)
    assert state.notes == ("the prefix _orig_mod. is left out of all names",)


@pytest.mark.parametrize("content", [[1, 2], {"a": 1}, {}, torch.ones(1)], ids=["list", "numbers", "nothing", "array"])
def test_what_holds_no_state_dict_ends_the_reader(content, capsys):
    with pytest.raises(SystemExit):
        unpickle.find_arrays(content)
    assert "there is no state dict in it" in json.loads(capsys.readouterr().err)["rule"]


def test_a_dict_that_holds_itself_is_searched_only_so_deep():
    state = {"w": torch.ones(1)}
    state["model"] = state
    arrays, told = unpickle.find_arrays(state)
    assert list(arrays) == ["w"]
    assert told["wrapped"] == ["model"] * 3
    assert told["ignored"] == ["model"]


def test_arrays_that_are_not_plain_are_ignored():
    odd = {"sparse": torch.eye(2).to_sparse(), "nowhere": torch.ones(2, device="meta"), "complex": torch.ones(1) * 1j}
    arrays, told = unpickle.find_arrays({**odd, "w": torch.ones(1)})
    assert list(arrays) == ["w"]
    assert told["ignored"] == ["sparse", "nowhere", "complex"]


@pytest.mark.slow
def test_a_pickle_of_pythons_own_is_no_state_dict(tmp_path, witness):
    (tmp_path / "w.bin").write_bytes(pickle.dumps(Payload(witness)))
    assert "this file cannot be read as weights" in refusal(tmp_path / "w.bin")
    assert not witness.exists()
