"""What of Keras may stand in a model file: names of its own layers that do arithmetic, and of what configures them.

Layers that carry code (Lambda), load other files (TextVectorization, TFSMLayer) or wrap other frameworks are not here.
"""

from __future__ import annotations

MODELS = frozenset({"Functional", "Model", "Sequential"})

DIMENSIONAL = frozenset(
    f"{name}{dimensions}D"
    for dimensions in (1, 2, 3)
    for name in (
        *("AveragePooling", "Conv", "Cropping", "GlobalAveragePooling", "GlobalMaxPooling", "MaxPooling"),
        *("SpatialDropout", "UpSampling", "ZeroPadding"),
    )
)

LAYERS = DIMENSIONAL | {
    *("Activation", "ActivityRegularization", "Add", "AdditiveAttention", "AlphaDropout", "Attention", "Average"),
    *("BatchNormalization", "Bidirectional", "Concatenate", "Conv1DTranspose", "Conv2DTranspose", "Dense"),
    *("DepthwiseConv1D", "DepthwiseConv2D", "Dot", "Dropout", "ELU", "Embedding", "Flatten", "GRU", "GRUCell"),
    *("GaussianDropout", "GaussianNoise", "GroupNormalization", "Identity", "InputLayer", "LSTM", "LSTMCell"),
    *("LayerNormalization", "LeakyReLU", "Masking", "Maximum", "Minimum", "MultiHeadAttention", "Multiply"),
    *("Normalization", "PReLU", "Permute", "RNN", "ReLU", "RepeatVector", "Rescaling", "Reshape", "SeparableConv1D"),
    *("SeparableConv2D", "SimpleRNN", "SimpleRNNCell", "Softmax", "StackedRNNCells", "Subtract"),
    *("ThresholdedReLU", "TimeDistributed", "UnitNormalization"),
}

SETTINGS = frozenset(
    {
        *("Constant", "GlorotNormal", "GlorotUniform", "HeNormal", "HeUniform", "IdentityInitializer"),
        *("LecunNormal", "LecunUniform", "Ones", "Orthogonal", "OrthogonalInitializer", "RandomNormal"),
        *("RandomUniform", "TruncatedNormal", "VarianceScaling", "Zeros"),
        *("L1", "L1L2", "L2", "OrthogonalRegularizer", "MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm"),
        *("DTypePolicy", "FloatDTypePolicy", "Policy", "__keras_tensor__"),
    }
)

ACTIVATIONS = frozenset(
    {
        *("celu", "elu", "exponential", "gelu", "hard_sigmoid", "hard_silu", "hard_swish", "hard_tanh", "leaky_relu"),
        *("linear", "log_sigmoid", "log_softmax", "mish", "relu", "relu6", "selu", "sigmoid", "silu", "softmax"),
        *("softplus", "softsign", "squareplus", "swish", "tanh"),
    }
)

SLOW = {"GRU": "GRU", "GRUCell": "GRU", "Masking": "Masking", "SimpleRNN": "SimpleRNN"}
"""Layers that ONNX expresses as a Loop, 20 to 50 times as slow as an LSTM."""
