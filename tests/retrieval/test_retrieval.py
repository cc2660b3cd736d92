from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

from neocog import Model, ModelFileError, NeocogError, Network, RewriteError
from neocog.data import Dataset, Preprocessing
from neocog.initialise import initialise
from neocog.reference import forward
from neocog.retrieval import Index, default_layer, embed, load_index, nearest, recall
from neocog.retrieval.search import unit

TEXT = "INPUT[8x8x1] -> CONV3-4 -> RELU -> ADD[CONV3-4 | ID] -> POOL2 -> AUX[GAP -> FC3] -> FC6 -> RELU -> FC3"


@pytest.fixture(scope="module")
def data() -> Dataset:
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 1), dtype=np.uint8)
    return Dataset("noise", "train", images, np.arange(20) % 3, ("a", "b", "c"))


@pytest.fixture(scope="module")
def model(data) -> Model:
    network = Network.parse(TEXT)
    return Model(
        network, initialise(network), Preprocessing.learn(data, network.input_shape), data.classes, "cross-entropy"
    )


def an_index(features: np.ndarray, labels: list[int] | None = None, model: str = "f" * 64) -> Index:
    names = tuple(f"é {k}" for k in range(len(features)))
    known = None if labels is None else np.array(labels, np.int64)
    return Index(
        np.asarray(features, np.float32), names, known, ("a", "b", "c"), model, "relu2", "mean", "m.safetensors"
    )


@pytest.mark.parametrize("layer", ["input", "conv1", "add1", "pool1", "relu2", "fc3"])
@pytest.mark.parametrize("pool", ["mean", "none"])
def test_features_of_any_layer_are_the_references(model, data, layer, pool):
    found = np.concatenate([*embed(model, [data.images[:7], data.images[7:9]], layer, pool)])
    trace = forward(model.network, model.weights, model.preprocessing(data.images[:9]))
    k = [node.name for node in model.network.nodes].index(layer)
    y = trace.outputs[k]
    expected = y.mean(axis=(2, 3)) if pool == "mean" else y.reshape(len(y), -1)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_by_default_the_last_volume_before_the_scores_is_taken(model):
    assert default_layer(model.network) == "relu2"
    assert default_layer(Network.parse("INPUT[8x8x1] -> CONV3-4 -> RELU -> CONV1-3 -> GAP -> SOFTMAX")) == "relu1"


def test_a_layer_that_there_is_not_is_refused(model, data):
    with pytest.raises(RewriteError, match="there is no such layer"):
        next(embed(model, [data.images], "relu9"))
    with pytest.raises(NeocogError, match="no such pooling"):
        next(embed(model, [data.images], "relu1", "max"))


def test_the_nearest_are_those_that_sorting_by_the_angle_gives():
    rng = np.random.default_rng(1)
    features, queries = rng.normal(size=(300, 24)).astype(np.float32), rng.normal(size=(7, 24)).astype(np.float32)
    cosines = unit(queries) @ unit(features).T
    order = np.argsort(-cosines, axis=1)[:, :5]
    found = nearest(an_index(features, [0] * 300), queries, 5)
    assert [[int(one.name[2:]) for one in row] for row in found] == order.tolist()
    np.testing.assert_allclose(
        [[one.similarity for one in row] for row in found], np.take_along_axis(cosines, order, 1), atol=1e-5
    )
    assert len(nearest(an_index(features[:3]), queries, 5)[0]) == 3
    with pytest.raises(NeocogError, match="24 numbers for an image"):
        nearest(an_index(features), queries[:, :5])


def test_rows_of_any_size_have_an_angle():
    rows = np.array([[3, 4], [3e30, 4e30], [3e-30, 4e-30], [0, 0]], np.float32)
    np.testing.assert_allclose(unit(rows), [[0.6, 0.8]] * 3 + [[0, 0]], rtol=1e-6)


@pytest.mark.parametrize(
    ("queries", "top", "says"),
    [([[1.0, 0.0]], 0, "received: top=0"), ([[np.nan, 0.0]], 1, "not finite"), ([[1.0, np.inf]], 1, "not finite")],
)
def test_what_has_no_neighbours_is_refused(queries, top, says):
    with pytest.raises(NeocogError, match=says):
        nearest(an_index(np.ones((4, 2))), np.array(queries, np.float32), top)


def test_recall_counts_queries_that_find_their_class():
    features = [[1, 0], [1, 0.1], [0, 1], [0.1, 1], [-1, 0]]
    found = recall(an_index(np.array(features), [0, 0, 1, 1, 2]))
    assert (found.at, found.precision, found.queries) == ({1: 4 / 5}, {1: 4 / 5}, 5)
    queries = an_index(np.array([[1.0, 0.0], [0.0, -1.0]]), [0, 0])
    assert recall(an_index(np.array(features), [0, 0, 1, 1, 1]), queries).at[5] == 1
    with pytest.raises(NeocogError, match="classes are known"):
        recall(an_index(np.array(features)))
    with pytest.raises(NeocogError, match="must come from one model"):
        recall(an_index(np.array(features), [0] * 5), an_index(np.array(features), [0] * 5, model="0" * 64))


def test_copies_of_an_image_do_not_count_the_image_itself():
    found = recall(an_index(np.ones((30, 2)), [k % 3 for k in range(30)]))
    assert found.queries == 30
    assert found.at[1] < 1


def test_an_index_is_read_as_it_was_written_and_knows_its_model(model, data, tmp_path):
    features = np.concatenate([*embed(model, [data.images], "relu2")])
    index = replace(an_index(features, (np.arange(20) % 3).tolist()), model=model.fingerprint)
    again = load_index(index.save(tmp_path / "i.safetensors"))
    assert (again.names, again.classes, again.layer, again.pool) == (index.names, index.classes, "relu2", "mean")
    np.testing.assert_array_equal(again.features, index.features)
    np.testing.assert_array_equal(again.labels, index.labels)
    again.check_model(model)
    other = {**model.weights, "fc3.bias": model.weights["fc3.bias"] + 1}
    with pytest.raises(NeocogError, match="made by another model"):
        again.check_model(replace(model, weights=other))


def test_damaged_and_foreign_files_are_refused(model, tmp_path):
    path = an_index(np.ones((4, 3)), [0, 1, 2, 0]).save(tmp_path / "i.safetensors")
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.choice(len(content), 60, replace=False):
        path.write_bytes(content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :])
        with pytest.raises(ModelFileError, match=r"i\.safetensors"):
            load_index(path)
    for cut in (0, 5, 100, len(content) - 1):
        path.write_bytes(content[:cut])
        with pytest.raises(ModelFileError):
            load_index(path)
    with pytest.raises(ModelFileError, match="this is no index"):
        load_index(model.save(tmp_path / "m.safetensors"))


def test_without_its_library_searching_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(NeocogError, match="faiss-cpu") as caught:
        nearest(an_index(np.ones((4, 3))), np.ones((1, 3), np.float32))
    assert "neocog[retrieval]" in caught.value.hint
