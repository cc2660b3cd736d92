"""Our module compiled by torch: only where there is a compiler, for one size of batch, in a folder of one's own."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from exports import digits

from neocog import NeocogError
from neocog.runtimes import RUNTIMES, choose, with_compiled_torch

Compiled = RUNTIMES["torch-compiled"]


@pytest.fixture
def uncompiled(monkeypatch, tmp_path):
    """`torch.compile` that gives the module back; the settings and folders that it saw are listed."""
    monkeypatch.setenv("NEOCOG_CACHE", str(tmp_path))
    seen = []

    def unchanged(module, **settings):
        seen.append((settings, os.environ["TORCHINDUCTOR_CACHE_DIR"]))
        return module

    monkeypatch.setattr(torch, "compile", unchanged)
    return seen


def refused_for_want_of_a_compiler(model, dtype):
    """Whether there is none on this machine: then the runtime must be refused for it, and no more can be seen."""
    lack = Compiled.lacks(model, dtype)
    if lack:
        with pytest.raises(NeocogError) as caught:
            choose(model, 100, "torch-compiled", dtype)
        assert lack in str(caught.value)
    return bool(lack)


def test_without_a_compiler_it_is_never_tried(residual, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert "no C++ compiler: no-such-compiler" in Compiled.lacks(residual, "float32")
    with pytest.raises(NeocogError, match=r"torch-compiled cannot run this model in float32\n.*no-such-compiler"):
        choose(residual, 100, "torch-compiled")


def test_without_pythons_headers_it_is_never_tried(residual, monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", "true")
    monkeypatch.setattr(with_compiled_torch.sysconfig, "get_path", lambda name: str(tmp_path))
    assert "no Python.h" in Compiled.lacks(residual, "float32")
    assert "no products of int8" in Compiled.lacks(residual, "int8")


def test_images_are_computed_in_batches_of_one_size(residual, uncompiled, monkeypatch):
    sizes = []
    made = Compiled(residual, "float32", 4)
    inner = made._module
    made._module = lambda x: (sizes.append(len(x)), inner(x))[1]
    images = digits(10).images
    x = residual.preprocessing(images)
    np.testing.assert_allclose(made.scores(x), residual.answers(images), rtol=0, atol=1e-4)
    assert sizes == [4, 4, 4]


def test_it_is_compiled_for_that_batch_in_a_private_folder(residual, uncompiled, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/of/the/user")
    Compiled(residual, "float32", 2)
    settings, folder = uncompiled[0]
    assert settings["fullgraph"]
    assert settings["dynamic"] is False
    assert folder == str(tmp_path / "torch")
    assert os.stat(folder).st_mode & 0o077 == 0
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == "/of/the/user"


def test_a_folder_that_others_can_write_to_is_not_used(residual, uncompiled, tmp_path):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch").chmod(0o777)
    with pytest.raises(NeocogError, match="others could write into the folder of compiled code"):
        Compiled(residual, "float32")


def test_a_folder_that_has_grown_too_large_is_emptied(residual, uncompiled, tmp_path, monkeypatch):
    monkeypatch.setattr(with_compiled_torch, "LARGEST", 10)
    old = tmp_path / "torch" / "ab" / "old.so"
    old.parent.mkdir(parents=True)
    old.write_bytes(bytes(20))
    Compiled(residual, "float32")
    assert not old.exists()


def test_what_torch_cannot_compile_is_said(residual, uncompiled, monkeypatch):
    def broken(module, **settings):
        raise RuntimeError("CppCompileError: g++ ended with 1\nand a long text")

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(NeocogError, match=r"does not compile this network\n.*g\+\+ ended with 1\n"):
        Compiled(residual, "float32")


@pytest.mark.slow
def test_two_models_of_one_network_keep_their_own_weights(residual, tmp_path, monkeypatch):
    monkeypatch.setenv("NEOCOG_CACHE", str(tmp_path))
    if refused_for_want_of_a_compiler(residual, "float32"):
        return
    other = replace(residual, weights={name: 0.5 * array for name, array in residual.weights.items()})
    x = residual.preprocessing(digits(4).images)
    both = [(model, Compiled(model, "float32", 4)) for model in (residual, other)]
    for model, made in both:
        np.testing.assert_allclose(made.scores(x), model.scores(x), rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_compiled_code_gives_the_models_scores(residual, tmp_path, monkeypatch, dtype):
    monkeypatch.setenv("NEOCOG_CACHE", str(tmp_path))
    if refused_for_want_of_a_compiler(residual, dtype):
        return
    images = digits(10).images
    chosen = choose(residual, 10, "torch-compiled", dtype, batch=4)
    wanted = residual.answers(images)
    tolerance = 1e-4 if dtype == "float32" else 0.05 * np.abs(wanted).max()
    np.testing.assert_allclose(chosen.model.answers(images), wanted, rtol=0, atol=tolerance)
