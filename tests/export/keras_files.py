"""Makes tiny Keras files, in a process of its own: `python keras_files.py FOLDER` (TensorFlow is slow to import)."""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.update(CUDA_VISIBLE_DEVICES="-1", TF_CPP_MIN_LOG_LEVEL="3", KERAS_BACKEND="tensorflow")


def make(folder: Path) -> None:
    """lstm.weights.h5, saved/, face.h5 and gru.keras, which convert; lambda.* and custom.keras, which must not."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(7)
    lstm = keras.Sequential(
        [
            keras.Input((20, 8)),
            layers.LSTM(4, return_sequences=True),
            layers.Bidirectional(layers.LSTM(3)),
            layers.Dense(3, activation="softmax"),
        ]
    )
    lstm.save_weights(folder / "lstm.weights.h5")
    conv = keras.Sequential(
        [
            keras.Input((216, 1)),
            layers.Conv1D(4, 5, activation="relu"),
            layers.MaxPooling1D(8),
            layers.Flatten(),
            layers.Dense(10, activation="softmax"),
        ]
    )
    conv.export(folder / "saved", verbose=False)
    _make_reader(folder / "reader")
    image = keras.Input((64, 64, 1))
    middle = layers.Conv2D(3, 3, activation="relu")(image)
    classes = layers.Dense(7, activation="softmax")(layers.GlobalAveragePooling2D()(middle))
    keras.Model(image, classes).save(folder / "face.h5")
    keras.Sequential([keras.Input((20, 8)), layers.GRU(3), layers.Dense(3)]).save(folder / "gru.keras")
    _make_still(folder)
    _make_refused(folder)


def _make_still(folder: Path) -> None:
    """A face network with augmentation inside, two outputs, and a sigmoid for each class."""
    import keras
    from keras import layers

    image = keras.Input((32, 32, 3))
    augmentation = keras.Sequential([layers.RandomFlip(), layers.RandomRotation(0.2), layers.RandomContrast(0.3)])
    values = layers.Rescaling(1 / 255.0)(layers.RandomTranslation(0.1, 0.1)(augmentation(image)))
    values = layers.Normalization(mean=[0.5] * 3, variance=[0.1] * 3)(layers.Resizing(24, 24)(values))
    middle = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, activation="relu")(values))
    classes = layers.Dense(3, activation="sigmoid", name="emotion")(middle)
    keras.Model(image, [classes, layers.Dense(2, name="va")(middle)]).save(folder / "still.keras")


def _make_reader(folder: Path) -> None:
    """A SavedModel that reads a file of this machine when it is asked."""
    import tensorflow as tf

    class Reader(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, 20, 8))])
        def serve(self, values: tf.Tensor) -> dict[str, tf.Tensor]:
            length = tf.strings.length(tf.io.read_file("/etc/hostname"))
            return {"scores": tf.reduce_sum(values, axis=1)[:, :3] + tf.cast(length, tf.float32)}

    reader = Reader()
    tf.saved_model.save(reader, str(folder), signatures=reader.serve)


def _make_refused(folder: Path) -> None:
    import keras
    from keras import layers

    trap = str(folder / "it_ran")
    sneaky = layers.Lambda(lambda x: (open(trap, "w").close(), x)[1], name="sneaky", output_shape=(4,))  # noqa: PTH123
    code = keras.Sequential([keras.Input((4,)), sneaky, layers.Dense(3)])
    Path(trap).unlink(missing_ok=True)  # building the model here ran it
    code.save(folder / "lambda.keras")
    code.save(folder / "lambda.h5")

    @keras.saving.register_keras_serializable(package="Mine")
    class Doubling(layers.Layer):
        def call(self, inputs: object) -> object:
            return inputs + inputs  # type: ignore[operator]

    keras.Sequential([keras.Input((4,)), Doubling(name="twice"), layers.Dense(3)]).save(folder / "custom.keras")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
