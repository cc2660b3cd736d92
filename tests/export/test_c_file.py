"""Exported C: taken by the compiler without a word, with the model's answers, in memory that it does not exceed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from exports import RESIDUAL, digits, made_model

from neocog import Model, NeocogError, RunError, load_data, zoo
from neocog.export.c_file import identifier, write_c
from neocog.native.jit import machine
from neocog.runtimes.compiled import compiled_c

CC = shutil.which("cc")
needs_compiler = pytest.mark.skipif(CC is None, reason="there is no C compiler")
STRICT = ("-std=c11", "-Wall", "-Wextra", "-pedantic", "-Werror", "-Wshadow", "-Wstrict-prototypes")
SANITIZED = ("-g1", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")

MAIN = """#include <stdio.h>
#include "lenet5.h"

int main(int count, char **arguments) {
    FILE *file = fopen(arguments[count - 1], "rb");
    static uint8_t pixels[28 * 28];
    float scores[LENET5_OUTPUTS];
    if (!file)
        return 1;
    while (fread(pixels, 1, sizeof pixels, file) == sizeof pixels) {
        lenet5_scores_of_bytes(pixels, scores);
        printf("%d", lenet5_answer(scores));
        for (int k = 0; k < LENET5_OUTPUTS; k++)
            printf(" %.9g", (double)scores[k]);
        puts("");
    }
    return fclose(file);
}
"""
NETS = {
    "residual": RESIDUAL,
    "table": 'INPUT[28x28x1] -> SUBSAMPLE2 -> CONV3-3 -> CONV3-3(TABLE="0 1; 1 2; 0 2") -> TANH -> POOL2 -> FC10',
    "rare": "INPUT[28x28x1] -> POOL4 -> CONV3-4(FLIP=yes) -> LRN -> AVGPOOL3(S=2, P=1, ZEROS=no, fit=ceil) -> LCN3 -> "
    "LOCAL3-3 -> PRELU -> DECONV4-2(S=2, P=1) -> UPSAMPLE2 -> SPP(2,1) -> FC10 -> SOFTMAX",
    "groups": "INPUT[28x28x1] -> CONV4-8(S=4, P=0) -> GROUPNORM(G=2) -> GELU -> CONV3-8(G=4) -> L2POOL2(S=1) -> "
    "SHORTCUT(K=12) -> SILU -> STOPOOL3 -> FC8 -> TANH -> DROPOUT -> FC10",
    "filtered": "INPUT[28x28x1] -> FILTER(sobel-x) -> CONV5-4(S=2, D=2, fit=floor) -> LRELU(0.1) -> SIGMOID -> "
    "CONCAT[GAP | CONV1-2 -> GAP] -> FC10(BIAS=no)",
}
MORE = [str(zoo("lenet5")), *(NETS[name] for name in ("table", "groups", "filtered"))]


def written(model: Model, folder: Path, **options: bool) -> Path:
    source = folder / "net.c"
    write_c(model, source, folder / "net.h", **options)
    return source


def compile_it(folder: Path, *sources: str, flags: tuple[str, ...]) -> Path:
    assert CC
    command = [CC, *flags, *sources, "-o", "run", "-lm"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:2000]
    return folder / "run"


def answers(program: Path, images: np.ndarray) -> np.ndarray:
    """Each image's class and scores, as the program prints them."""
    file = program.parent / "images"
    file.write_bytes(images.tobytes())
    done = subprocess.run([program, file], capture_output=True, text=True, check=True)
    return np.array([line.split() for line in done.stdout.splitlines()], np.float64)


@needs_compiler
@pytest.mark.parametrize("text", NETS.values(), ids=NETS)
def test_a_network_compiles_without_a_warning_and_gives_the_models_scores(text, tmp_path):
    model, images = made_model(text), digits(12).images
    source = written(model, tmp_path)
    compile_it(tmp_path, "net.c", flags=(*STRICT, "-fsyntax-only"))
    found, wanted = compiled_c(model, source).answers(images), model.answers(images)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())


def program_of(model: Model, folder: Path) -> Path:
    """A model's export as a program that reads images from a file."""
    write_c(model, folder / "lenet5.c", folder / "lenet5.h")
    (folder / "main.c").write_text(MAIN)
    return compile_it(folder, "lenet5.c", "main.c", flags=(*STRICT, "-O2"))


def assert_answers_as_the_model(program: Path, model: Model, images: np.ndarray) -> None:
    found, wanted = answers(program, images), model.answers(images)
    assert (found[:, 0] == wanted.argmin(1)).all()  # the nearest drawing
    np.testing.assert_allclose(found[:, 1:], wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())


@needs_compiler
def test_lenet_5_in_c_answers_as_the_model_does(tmp_path):
    model = made_model(str(zoo("lenet5")))
    assert_answers_as_the_model(program_of(model, tmp_path), model, digits(500).images)


@needs_compiler
@pytest.mark.slow
def test_trained_lenet_5_in_c_reads_all_test_digits_as_the_model_does(trained, tmp_path):
    data = load_data("mnist").test
    program = program_of(trained, tmp_path)
    assert_answers_as_the_model(program, trained, data.images)
    assert (answers(program, data.images)[:, 0] == data.labels).mean() > 0.95


@needs_compiler
@pytest.mark.parametrize(
    "text", [NETS["residual"], NETS["rare"], *(pytest.param(text, marks=pytest.mark.slow) for text in MORE)]
)
def test_no_byte_beyond_its_memory_is_touched(text, tmp_path):
    model = made_model(text)
    write_c(model, tmp_path / "lenet5.c", tmp_path / "lenet5.h")
    (tmp_path / "main.c").write_text(MAIN)
    program = compile_it(tmp_path, "lenet5.c", "main.c", flags=("-std=c11", *SANITIZED))
    images = digits(2).images
    assert len(answers(program, images)) == 2


@needs_compiler
def test_calls_leave_nothing_behind(residual, tmp_path):
    compiled, images = compiled_c(residual, written(residual, tmp_path)), digits(6).images
    alone = np.concatenate([compiled.answers(images[k : k + 1]) for k in (5, 0, 3)])
    np.testing.assert_array_equal(alone, compiled.answers(images)[[5, 0, 3]])


def test_nothing_is_allocated_and_only_the_c_library_is_needed(residual, tmp_path):
    code = written(residual, tmp_path).read_text()
    assert set(re.findall(r"#include (\S+)", code)) == {
        '"net.h"',
        "<math.h>",
        "<stdbool.h>",
        "<stdint.h>",
        "<string.h>",
    }
    assert not re.search(r"malloc|free\(|__builtin|__attribute__|vector_size", code)


def test_the_code_does_not_depend_on_this_processor(residual, tmp_path, monkeypatch):
    first = written(residual, tmp_path).read_text()
    machine.cache_clear()
    assert written(residual, tmp_path).read_text() == first


def test_numbers_are_the_weights_to_the_last_bit(residual, tmp_path):
    code = written(residual, tmp_path).read_text()
    listed = re.search(r"fc1_bias\[\d+\] = \{\n(.*?)\n\};", code, re.DOTALL)
    assert listed
    found = [np.float32(text.rstrip("f")) for text in re.findall(r"[-\d.e]+f", listed[1])]
    np.testing.assert_array_equal(found, residual.weights["fc1.bias"])


@pytest.mark.parametrize("unwritten", [".c", ".h"])
def test_where_one_of_the_two_files_cannot_be_written_neither_is_left(unwritten, residual, tmp_path, monkeypatch):
    def on_a_full_disk(path, content):
        if path.suffix == unwritten:
            raise RunError("this file cannot be written", where=str(path))
        path.write_bytes(content)

    monkeypatch.setattr("neocog.export.c_file.write_atomically", on_a_full_disk)
    with pytest.raises(RunError):
        write_c(residual, tmp_path / "net.c", tmp_path / "net.h")
    assert list(tmp_path.iterdir()) == []


def test_preprocessing_beside_takes_numbers_only(residual, tmp_path):
    written(residual, tmp_path, inside=False)
    assert "of_bytes" not in (tmp_path / "net.h").read_text()


@pytest.mark.parametrize("name", ["lenet-5", "5lenet", "", "static", "a" * 60, "naïve"])
def test_a_name_that_is_none_in_c_is_refused(name):
    with pytest.raises(NeocogError, match="becomes a name in C"):
        identifier(name)


def test_what_has_no_kernels_is_refused_with_the_layer(make, tmp_path):
    model = make("INPUT[28x28x1] -> POOL9(fit=floor) -> FC10")
    with pytest.raises(NeocogError, match="pool1"):
        write_c(model, tmp_path / "a.c", tmp_path / "a.h")
    assert os.listdir(tmp_path) == []


@needs_compiler
@pytest.mark.parametrize("size", [(32, 33), (56, 60)])
def test_images_stand_where_preprocessing_puts_them(make, tmp_path, size):
    model, images = make("INPUT[{}x{}x1] -> POOL4(fit=floor) -> FC10".format(*size)), digits(5).images
    found, wanted = compiled_c(model, written(model, tmp_path)).answers(images), model.answers(images)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())


def test_images_that_would_be_made_smaller_need_preprocessing_beside(make, tmp_path):
    model = make("INPUT[14x14x1] -> POOL2 -> FC10")
    with pytest.raises(NeocogError, match="--preprocessing beside"):
        written(model, tmp_path)
    written(model, tmp_path, inside=False)
