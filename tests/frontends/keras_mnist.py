"""How tests/frontends/keras_mnist.onnx was made: a Keras network on MNIST, exported to ONNX.

Run with Python 3.11, tensorflow-cpu 2.21, keras 3.15 and tf2onnx 1.17, in an environment of their
own:

    python keras_mnist.py FOLDER_OF_MNIST keras_mnist.onnx
"""

# pyright: reportMissingImports=false
import gzip
import sys
from pathlib import Path

import keras
import numpy as np
from keras import layers


def read(path: Path, header: int) -> np.ndarray:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rb") as file:
        return np.frombuffer(file.read(), np.uint8, offset=header)


folder = Path(sys.argv[1])
images, labels = (
    read(next(folder.rglob(f"train-{kind}*")), header)
    for kind, header in (("images-idx3-ubyte", 16), ("labels-idx1-ubyte", 8))
)
images = images.reshape(-1, 28, 28, 1).astype("float32")

keras.utils.set_random_seed(1)
inputs = keras.Input((28, 28, 1))
x = layers.Conv2D(6, 5, strides=2, padding="same")(inputs)
x = layers.BatchNormalization()(x)
x = layers.Activation("relu")(x)
y = layers.SeparableConv2D(8, 3, padding="same", activation="relu")(x)
x = layers.Concatenate()([x, y])
x = layers.MaxPooling2D(2)(x)
x = layers.Conv2D(12, 3, activation="relu6")(x)
x = layers.Dropout(0.1)(x)
x = layers.Flatten()(x)
model = keras.Model(inputs, layers.Dense(10, activation="softmax")(x))
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(images / 255, labels, batch_size=100, epochs=3, verbose=2)
model.export(sys.argv[2], format="onnx", verbose=False)
