"""Keras's own loop: `compile`, `fit` on arrays in memory, `evaluate`; on TensorFlow, with all its defaults."""

from __future__ import annotations

import with_keras  # isort: skip  # sets Keras's backend
import keras
from fit import MOMENTUM, RATE, Clock, given, standard


def main() -> None:
    work = given()
    clock = Clock()
    keras.utils.set_random_seed(work.seed)
    x, x_test = standard(work.x, work.x), standard(work.x_test, work.x)
    model = with_keras.model_of(work.nodes)
    model.compile(
        keras.optimizers.SGD(RATE, momentum=MOMENTUM, nesterov=True),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(x, work.y, batch_size=work.batch, epochs=work.epochs, verbose=0)
    _, accuracy = model.evaluate(x_test, work.y_test, batch_size=1000, verbose=0)
    clock.tell(accuracy)


if __name__ == "__main__":
    main()
