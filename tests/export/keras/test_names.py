"""The names of Keras' own layers are those of the installed Keras, not of a list of ours."""

from __future__ import annotations

import pytest

from bimodal.export.keras.names import REFUSED, keras_names


@pytest.mark.parametrize(
    "layer",
    [
        *("Dense", "LSTM", "Conv2DTranspose", "Resizing", "RandomFlip", "RandomRotation", "CenterCrop", "Rescaling"),
        *("Normalization", "CategoryEncoding", "GroupQueryAttention", "SpectralNormalization", "ConvLSTM2D"),
        *("DepthwiseConv2D", "SeparableConv2D", "MelSpectrogram", "STFTSpectrogram", "RMSNormalization", "Pipeline"),
    ],
)
def test_layers_of_keras_are_known(layer: str) -> None:
    assert layer in keras_names().layers


def test_code_and_readers_of_files_are_not_among_them() -> None:
    known = keras_names()
    assert not known.layers & REFUSED.keys()
    assert len(known.layers) > 120
    assert {"GlorotUniform", "L2", "MaxNorm", "DTypePolicy", "__tuple__"} <= known.settings
    assert {"relu", "gelu", "softmax", "swish", "log_softmax"} <= known.activations
