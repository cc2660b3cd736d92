from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

from neocog import NeocogError, load
from neocog.cli import VERBS
from neocog.cli.arguments import Parser
from neocog.training.run import read_metrics

IN = "INPUT[8x8x1]"
SMALL = "INPUT[28x28x1] -> POOL4 -> FC10"

NOTATIONS = [
    ("[", "column 2: a `[` is not closed"),
    ("INPUT[", "column 7: "),
    ("INPUT[]", "received: ]"),
    ("INPUT[8x8x1", "column 12: a `[` is not closed"),
    (f"{IN} ->", "column 16: a layer is missing after `->`"),
    ("-> CONV3-8", "column 1: a text begins with INPUT"),
    (f"{IN} -> -> RELU", "column 17: a layer is missing after `->`"),
    (f"{IN} CONV3-8[", "column 14: layers are joined by `->`"),
    (f"{IN} => RELU ->", "column 14: layers are joined by `->`"),
    ("INPUT[0x8x1] -> RELU", "INPUT's size is whole numbers from 1"),
    ("INPUT[8x8x1x2x3] -> RELU", "received: 8x8x1x2x3"),
    ("INPUT[-8x8x1] -> RELU", "received: -8x8x1"),
    ("INPUT[8.5x8x1] -> RELU", "INPUT's size is whole numbers"),
    (f"{IN} -> CONV3", "CONV needs K"),
    (f"{IN} -> CONV3-0", "CONV's K is a whole number from 1"),
    (f"{IN} -> CONV0-3", "CONV's F is a whole number from 1"),
    (f"{IN} -> CONV3-8(S=0)", "CONV's S is a whole number from 1"),
    (f"{IN} -> CONV3-8(Q=1)", "CONV has no option Q"),
    (f"{IN} -> CONV3-8(S=)", "options are written NAME=value"),
    (f"{IN} -> CONV3-8(S=1", "a `(` is not closed"),
    (f"{IN} -> CONV3-8(S=1, S=2)", "S is given twice"),
    (f"{IN} -> CONV3-8(P='x')", "CONV's P is a whole number from 0"),
    (f"{IN} -> CONV3-9(G=2)", "G=2 does not divide K=9"),
    (f'{IN} -> CONV3-4(TABLE="0 9")', "TABLE has 1 row for K=4"),
    (f"{IN} -> KONV3-8", "try: CONV3-8"),
    (f"{IN} -> DROPOUT(1.5)", "DROPOUT's p is a probability"),
    (f"{IN} -> FC", "FC needs K"),
    (f"{IN} -> FC99999999999", "a number has at most 9 digits"),
    (f"{IN} -> {'9' * 5000}", "received: 5000 digits"),
    (f"{IN} -> BN(3)", "BN takes no '(3)' there"),
    (f"{IN} -> SOFTMAX7", "SOFTMAX takes no '7' there"),
    (f"{IN} -> POOL3", "(8 - 3 + 0)/3 + 1 = 2.667"),
    (f"{IN} -> CONV9-3(P=0)", "F=9 on H=8 with P=0"),
    (f"{IN} -> POOL2 -> POOL2 -> POOL2 -> POOL2", "pool4 at line 1, column 44"),
    (f"{IN} -> ADD[CONV3-2 | CONV3-3]", "received: 8x8x2 | 8x8x3"),
    (f"{IN} -> ADD[CONV3-2 |", "column 30: a `[` is not closed"),
    (f"{IN} -> CONCAT[POOL2 | ID]", "received: 4x4x1 | 8x8x1"),
    (f"{IN} -> ADD[ID]", "ADD joins two or more branches"),
    (f"{IN} -> [RELU]*0", "a repeat's count is a whole number from 1"),
    (f"{IN} -> [RELU]*-1", "a repeat's count is a whole number from 1"),
    (f"{IN} -> [RELU]*N", "variable N has no value"),
    (f"{IN} -> RELU?p", "variable p has no value"),
    (f"{IN} -> [[[[RELU]*999999]*999999]*999999]*999999", "about 10^23 layers"),
    (f"{IN} -> [RELU]*20001", "received: 20,002 layers"),
    (f"{IN} -> {'[' * 2000}RELU{']' * 2000}", "brackets nest at most 64 deep"),
    (f"{IN} -> block(3)", "there is no layer 'block'"),
    (f"def f(k) = f(k)\n{IN} -> f(3)", "a definition uses only those that stand before it"),
    (f"def a = b\ndef b = a\n{IN} -> a", "a definition uses only those that stand before it"),
    (f"{IN} -> RELU -> {IN}", "INPUT stands once, at the beginning"),
    ("RELU -> FC10", "a network begins with INPUT"),
    ("# only a comment\n", "a text needs a network"),
    (f"{IN}\x00 -> RELU", "plain ASCII"),
    (f"{IN} -> \u202eRELU", "plain ASCII"),
    (f"{IN} -> CONV\u0663-8", "plain ASCII"),
    ("[\ud800", "plain ASCII"),
    (f"{IN} -> RELU; rm -rf /", "received: ;"),
    (f"{IN} -> {{{{7*7}}}}", "a layer's name begins with a letter"),
    (f"{IN} -> RELU\n# {'y' * 1_000_001}", "at most 1,000,000 characters"),
    (" \t ", "NET is empty"),
    ("", "NET is empty"),
    ("lenet", "try: lenet5"),
    ("ResNet-50", "try: resnet50"),
    ("xyzzy", "try: neocog zoo lists them all"),
    ("input 28x28x1", "a text begins with INPUT"),
    ("a network", "a text begins with INPUT"),
    ("x" * 5000, "the zoo has no network"),
    ("a\x00b", "the zoo has no network"),
    ("no/such/file", "there is no such file"),
    ("nofile.net", "there is no such file"),
    ("/dev/zero", "this is no plain file"),
    ("nofile.safetensors", "No such file"),
]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    """Every case starts in an empty folder and must leave it so."""
    folder = tmp_path / "cwd"
    folder.mkdir()
    monkeypatch.chdir(folder)
    yield folder
    assert list(folder.iterdir()) == []


def refused(answer, *says, code=2):
    assert answer.code == code
    assert [words for words in says if words not in answer.err] == []
    assert "\nerror: " in f"\n{answer.err}"
    assert "Traceback" not in answer.err
    assert len(answer.err) < 4000
    return answer


@pytest.mark.parametrize(("text", "says"), NOTATIONS, ids=[repr(text)[:40] for text, _ in NOTATIONS])
def test_a_text_that_is_no_network_is_refused_in_words(text, says, neocog):
    assert refused(neocog("plan", text), says).out == ""
    error = json.loads(refused(neocog("plan", text, "--json"), says).out)["error"]
    assert error["rule"]


@pytest.mark.parametrize("verb", ["train", "check"])
def test_other_verbs_refuse_such_a_text_too(verb, neocog):
    data = ["mnist"] if verb == "train" else []
    assert refused(neocog(verb, f"{IN} -> POOL3", *data), "do not tile", "fit=floor").out == ""


FILES = [
    ("binary", bytes(range(1, 256)), "is not text in UTF-8"),
    ("latin.net", "INPUT[8x8x1] -> RELU # größer".encode("latin-1"), "is not text in UTF-8"),
    ("large.net", b" " * 2_000_000, "at most 1,000,000 bytes"),
    ("empty.net", b"", "a text needs a network"),
    ("zip.safetensors", b"PK\x03\x04" + bytes(100), "a model file is a safetensors file"),
    ("cut.safetensors", b"\x10", "a model file is a safetensors file"),
]


@pytest.mark.parametrize(("name", "content", "says"), FILES, ids=[name for name, _, _ in FILES])
def test_a_file_that_holds_no_network_is_refused(name, content, says, neocog, tmp_path):
    (tmp_path / name).write_bytes(content)
    assert refused(neocog("plan", tmp_path / name), says).out == ""


def test_a_folder_is_no_network_and_an_unreadable_file_neither(neocog, tmp_path, monkeypatch):
    refused(neocog("plan", tmp_path), "this is a folder")
    (tmp_path / "secret.net").write_text(SMALL)
    real = type(tmp_path).open

    def guarded(self, *arguments, **named):
        if self.name == "secret.net":
            raise PermissionError(13, "Permission denied")
        return real(self, *arguments, **named)

    monkeypatch.setattr(type(tmp_path), "open", guarded)
    refused(neocog("plan", tmp_path / "secret.net"), "secret.net: this file cannot be read", "Permission denied")


USAGE = [
    (["plan"], "required: NET"),
    (["train", SMALL], "train needs NET and DATA, --recipe FILE or --resume RUN"),
    (["eval"], "required: MODEL, DATA"),
    (["predict", "model.safetensors"], "required: FILE"),
    (["plan", SMALL, "extra"], "unrecognized arguments: extra"),
    (["plan", SMALL, "--colour"], "unrecognized arguments: --colour"),
    (["plan", SMALL, "--batc", "3"], "unrecognized arguments"),
    (["plan", SMALL, "--timelin"], "try: --timeline"),
    (["plan", SMALL, "--draw", "figure.jpg"], "a name ending in .svg or .png is needed, not 'figure.jpg'"),
    (["plan", f"{IN} -> [RELU]*N", "-D", "N=1", "-D", "N=2"], "variable N is given twice"),
    (["plan", f"{IN} -> [RELU]*N", "-D", "N=1..2", "-D", "N=4"], "received: -D N=4"),
    (["plan", SMALL, "--batch", "0"], "a whole number from 1"),
    (["plan", SMALL, "--batch", "-1"], "not '-1'"),
    (["plan", SMALL, "--batch", "9" * 19], "at most 18 digits"),
    (["plan", SMALL, "--batch", "9" * 5000], "at most 18 digits"),
    (["plan", SMALL, "--batch", "many"], "not 'many'"),
    (["plan", SMALL, "--batch", "\u0663"], "a whole number from 1"),
    (["plan", SMALL, "--dtype", "int8"], "invalid choice: 'int8'"),
    (["plan", SMALL, "--optimizer", "magic"], "invalid choice: 'magic'"),
    (["plan", SMALL, "--format", "pdf"], "invalid choice: 'pdf'"),
    (["plan", SMALL, "-D"], "expected one argument"),
    (["plan", SMALL, "-D", "N"], "-D gives a variable a whole number"),
    (["plan", SMALL, "-D", "N=x"], "received: -D N=x"),
    (["plan", SMALL, "-D", "N=-1"], "received: -D N=-1"),
    (["plan", SMALL, "-D", "=1"], "received: -D =1"),
    (["plan", SMALL, "-D", "N=1234567890"], "-D gives a variable a whole number"),
    (["plan", SMALL, "-D", "N=1"], "the text has no variable N"),
    (["plan", f"{IN} -> [RELU]*N", "-D", "N=999999999"], "at most 20,000 layers"),
    (["plan", "m.safetensors", "-D", "N=1"], "no pattern variables"),
    (["check", SMALL, "--batch", "0"], "a whole number from 1"),
    (["check", SMALL, "--seed", "-1"], "a whole number from 0"),
    (["check", "lenet"], "try: lenet5"),
    (["zoo", "vgg17"], "vgg1"),
    (["plna", SMALL], "try: plan"),
    (["plna", "--help"], "try: plan"),
    (["help", "plna"], "try: plan"),
    (
        ["xyzzy"],
        f"try: {', '.join(VERBS)}",
    ),
    (["--nonsense"], "a verb is needed"),
    (["--verison"], "try: --version"),
    (["eval", "nofile", "mnist"], "No such file"),
    (["eval", "nofile", "mnist"], "try: the model.safetensors of a training run"),
    (
        ["eval", "mnist", "m.safetensors"],
        "MODEL comes before DATA\n  received: mnist m.safetensors\n  try: m.safetensors mnist",
    ),
    (["train", "mnist", "lenet5"], "NET comes before DATA\n  received: mnist lenet5\n  try: lenet5 mnist"),
    (["search", "nofile", "image.png"], "try: neocog embed MODEL DATA -o index.safetensors"),
    (["verify-resume", "."], "there is no run in this folder\n  received: no config.yaml\n  try: the folder"),
    (["compare", "runs/a"], "try: neocog compare runs/a runs/mnist-2"),
    (["eval", ".", "mnist"], "this is a folder, not a model file"),
    (["predict", "nofile", "image.png"], "No such file"),
]


@pytest.mark.parametrize(("arguments", "says"), USAGE, ids=[" ".join(a)[:60] for a, _ in USAGE])
def test_a_mistake_in_usage_is_explained(arguments, says, neocog):
    assert refused(neocog(*arguments), says).out == ""
    assert set(json.loads(refused(neocog(*arguments, "--json"), says).out)) == {"error"}


def test_a_name_that_is_nearly_that_of_a_file_is_answered_with_it(neocog, tmp_path, trained):
    (tmp_path / "lenet.net").write_text(SMALL)
    (tmp_path / "seven.png").write_bytes(b"")
    model = trained[1] / "model.safetensors"
    refused(neocog("plan", tmp_path / "lenett.net"), "there is no such file", f"try: {tmp_path / 'lenet.net'}")
    refused(neocog("plan", tmp_path / "xyzzy.net"), "try: neocog zoo lists the networks")
    refused(neocog("eval", trained[1] / "modle.safetensors", "mnist"), f"try: {model}")
    refused(neocog("predict", model, tmp_path / "sevn.png"), "there is no such file", f"try: {tmp_path / 'seven.png'}")


def test_a_file_in_the_place_of_another_is_called_what_it_is(neocog, tmp_path, trained):
    (tmp_path / "seven.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(20))
    (tmp_path / "none").mkdir()
    model = trained[1] / "model.safetensors"
    refused(neocog("predict", tmp_path / "seven.jpg", model), "this is a JPEG image", "try: model.safetensors")
    refused(neocog("search", model, model), "this is no index", "received: a model", "try: neocog embed")
    checkpoint = next((trained[1] / "checkpoints").glob("step-*"))
    refused(neocog("predict", checkpoint, model), "received: a checkpoint of a run, from which neocog train --resume")
    refused(neocog("predict", model, tmp_path / "none"), "there are no images in this folder")
    refused(neocog("train", "--resume", tmp_path / "none"), "there is no run in this folder", "try: the folder that")


def test_a_users_folder_is_found_where_the_shell_leaves_its_sign(neocog, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "my.net").write_text(SMALL)
    assert neocog("plan", "~/my.net").code == 0
    assert neocog("plan", SMALL, "--draw=~/my.svg").code == 0
    assert (tmp_path / "my.svg").is_file()


SETTINGS = [
    (["--lr", "nan"], "lr is a number above 0"),
    (["--lr", "inf"], "received: lr=inf"),
    (["--lr", "-1"], "received: lr=-1.0"),
    (["--lr", "0"], "received: lr=0.0"),
    (["--lr", "fast"], "invalid float value: 'fast'"),
    (["--epochs", "0"], "--epochs: a whole number from 1"),
    (["--epochs", "1.5"], "not '1.5'"),
    (["--batch-size", "0"], "a whole number from 1"),
    (["--momentum", "2"], "momentum is from 0 up to, not including, 1"),
    (["--momentum", "nan"], "momentum is from 0 up to"),
    (["--weight-decay", "-1"], "weight_decay is 0 or more"),
    (["--weight-decay", "nan"], "weight_decay is 0 or more"),
    (["--target-accuracy", "2"], "try: target_accuracy=0.99 for 99 %"),
    (["--target-accuracy", "nan"], "a fraction above 0"),
    (["--seed", "-1"], "a whole number from 0"),
    (["--seed", "9" * 40], "at most 18 digits"),
    (["--augment", "shift=-1"], "augment: shift is a whole number of pixels from 0 to 64"),
    (["--augment", "spin=3"], "augment is none, or of shift=..., flip, rotate=..., scale=..., slide=..."),
    (["--ema", "1"], "ema is from 0 up to, not including, 1"),
    (["--validation", "384"], "received: validation=384 of 384 images"),
    (["--optimizer", "magic"], "optimizer is one of"),
    (["--optimizer", "adam"], "try: adamw"),
    (["--schedule", "magic"], "schedule is one of"),
    (["--loss", "magic"], "loss is one of"),
    (["--dtype", "float16"], "dtype is one of"),
    (["--init", "magic"], "there is no such initialiser"),
    (["--device", "nonsense"], "this device is unknown"),
    (["--device", "meta"], "this device is unknown"),
    (["--device", "cuda:99"], "this device is not there"),
    (["--engine", "magic"], "invalid choice: 'magic'"),
]


@pytest.mark.parametrize(("options", "says"), SETTINGS, ids=[" ".join(o)[:40] for o, _ in SETTINGS])
def test_a_setting_that_makes_no_sense_ends_before_anything_is_written(options, says, neocog, folder):
    assert refused(neocog("train", SMALL, folder, *options), says).out == ""


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ([], "train needs NET and DATA, --recipe FILE or --resume RUN"),
        ([SMALL, "mnist", "--recipe", "any.toml"], "a recipe names the network and the data itself"),
        (["--recipe", "none.toml"], "none.toml: this recipe cannot be read"),
    ],
)
def test_what_to_train_is_said_once(asked, says, neocog):
    assert refused(neocog("train", *asked), says).out == ""


def test_a_layer_that_the_native_engine_lacks_is_named(neocog, folder):
    asked = ("train", "INPUT[28x28x1] -> POOL14 -> FC10", folder, "--engine", "native")
    refused(
        neocog(*asked), "the native engine cannot train this", "more than 49 positions (pool1)", "try: engine=torch"
    )


def test_a_gpu_that_is_not_there_is_refused(neocog, folder, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    refused(neocog("train", SMALL, folder, "--device", "cuda"), "torch finds 0 CUDA devices", "try: device=cpu")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("mnits", "try: mnist"),
        ("", "there is no such data set or folder"),
        ("nowhere/at/all", "there is no such data set or folder"),
        ("x" * 5000, "there is no such data set or folder"),
        (".", "this folder holds no data in a known format"),
    ],
)
def test_data_that_is_not_there_is_refused(data, says, neocog):
    assert refused(neocog("train", SMALL, data), says).out == ""


def test_a_network_for_other_data_is_refused(neocog, folder):
    refused(neocog("train", "INPUT[28x28x1] -> FC7", folder), "the network has 7, the data 10", "FC10 in place of FC7")
    refused(neocog("train", "INPUT[28x28x3] -> FC10", folder), "try: INPUT[28x28x1]")


def test_a_run_goes_neither_over_another_one_nor_where_no_folder_can_be(neocog, folder, trained, tmp_path):
    before = {entry.name: entry.read_bytes() for entry in trained[1].rglob("*") if entry.is_file()}
    refused(neocog("train", SMALL, folder, "--out", trained[1]), "this folder holds another run")
    assert {entry.name: entry.read_bytes() for entry in trained[1].rglob("*") if entry.is_file()} == before
    (tmp_path / "file").write_text("dear")
    refused(neocog("train", SMALL, folder, "--out", tmp_path / "file"), "the run folder cannot be written", code=1)
    refused(neocog("train", SMALL, folder, "--out", "/proc/nowhere"), "the run folder cannot be written", code=1)
    assert (tmp_path / "file").read_text() == "dear"


def test_a_loss_that_explodes_is_a_failure_and_not_a_mistake(neocog, folder, tmp_path):
    answer = neocog(
        *("train", SMALL, folder, "--out", tmp_path / "run", "--epochs", 1, "--schedule", "constant"),
        *("--lr", "1e38", "--device", "cpu"),
    )
    assert refused(answer, "the loss is not finite", "a smaller learning rate", code=1).out == ""
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_too_little_memory_is_said_in_words(neocog, monkeypatch):
    def full(*_, **__):
        raise MemoryError

    monkeypatch.setattr("neocog.check.check_network", full)
    refused(neocog("check", SMALL), "there is not enough memory", "neocog plan NET --batch N", code=1)


def test_what_the_system_refuses_is_named_and_not_taken_for_the_output(neocog, monkeypatch):
    def locked(*_, **__):
        raise PermissionError(13, "Permission denied", "secret/config.yaml")

    monkeypatch.setattr("neocog.check.check_network", locked)
    says = "error: secret/config.yaml: this file or folder cannot be used\n  received: Permission denied"
    refused(neocog("check", SMALL), says, code=1)


def test_a_reader_that_leaves_early_is_no_error(shell):
    for command in ("neocog plan resnet50 --json | head -1", "neocog --help | true", "neocog zoo | true"):
        done = shell(command)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("command", "code"), [("plan lenet5 >&-", 0), ("plan lenet5 --json >&- 2>&-", 0), ("plan [ 2>/dev/full", 2)]
)
def test_what_is_written_to_a_closed_stream_goes_nowhere(command, code, shell):
    done = shell(f"neocog {command}")
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")


def test_a_terminal_that_names_no_width_is_shown_everything(neocog, monkeypatch):
    monkeypatch.setenv("COLUMNS", "0")
    assert "2,578 parameters" in neocog("plan", "lenet1").out


def test_a_full_disk_is_said_in_words(shell):
    done = shell("neocog plan lenet5 > /dev/full")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: the output cannot be written: [Errno 28] No space left on device\n"


def test_a_terminal_without_unicode_is_no_reason_to_fail(neocog, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for options in ((), ("--json",), ("--format", "markdown")):
        code, out, err = neocog("plan", "lenet5", *options, encoding="ascii")
        assert (code, err) == (0, "")
        assert "subsample1" in out
        assert "\\u25" not in out


def test_a_signal_ends_training_and_keeps_the_weights_so_far(folder, tmp_path):
    """As a process of its own; what each signal does is in training/test_resume.py."""
    run = tmp_path / "run"
    command = [
        *(sys.executable, "-m", "neocog", "train", SMALL, str(folder), "--out", str(run)),
        *("--epochs", "100000", "--device", "cpu"),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        headline, first = process.stderr.readline(), process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert "384 images" in headline
    assert first.startswith("epoch ")
    assert (process.returncode, out) == (143, "")
    saved = f"error: interrupted; the weights so far are in {run}/interrupted.safetensors"
    assert err.endswith(f"{saved}; neocog train --resume {run} goes on from there\n")
    assert sorted(entry.name for entry in run.iterdir()) == [
        "checkpoints",
        "config.yaml",
        "events.out.tfevents.neocog",
        "interrupted.safetensors",
        "metrics.jsonl",
        "results.csv",
    ]
    assert read_metrics(run)
    assert load(run / "interrupted.safetensors").record["interrupted"] is True


def test_options_may_stand_between_files():
    parser = Parser(prog="verb")
    parser.add_argument("index")
    parser.add_argument("images", nargs="*")
    parser.add_argument("--top", type=int)
    for words in (["i", "--top", "3", "a", "b"], ["i", "a", "--top", "3", "b"], ["--top", "3", "i", "a", "b"]):
        found = parser.parse_args(words)
        assert (found.index, found.images, found.top) == ("i", ["a", "b"], 3)
    assert parser.parse_args(["i", "--", "-x"]).images == ["-x"]
    with pytest.raises(NeocogError, match="unrecognized arguments: --none"):
        parser.parse_args(["i", "--none"])
    with pytest.raises(NeocogError, match="required: index"):
        parser.parse_args([])
