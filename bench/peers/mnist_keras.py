"""Keras's first example, keras.io/examples/vision/mnist_convnet: its network, `fit` and settings, on TensorFlow.

It learns from all training digits and looks at the test digits after each epoch; the example keeps a tenth for that.
"""

from __future__ import annotations

import os

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
from digits import SEED, Clock, digits
from keras import layers

EPOCHS, BATCH = 15, 128


def main() -> None:
    keras.utils.set_random_seed(SEED)
    x, y, x_test, y_test = digits()
    y, y_test = keras.utils.to_categorical(y, 10), keras.utils.to_categorical(y_test, 10)
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, kernel_size=(3, 3), activation="relu"),
            layers.MaxPooling2D(pool_size=(2, 2)),
            layers.Conv2D(64, kernel_size=(3, 3), activation="relu"),
            layers.MaxPooling2D(pool_size=(2, 2)),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
    clock = Clock()
    told = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: clock.tell(epoch + 1, logs["val_accuracy"]))
    test = (x_test[..., None], y_test)
    model.fit(x[..., None], y, batch_size=BATCH, epochs=EPOCHS, validation_data=test, callbacks=[told], verbose=0)


if __name__ == "__main__":
    main()
