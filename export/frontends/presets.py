"""Front ends of published speech networks, each with its labels, licence and address."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from bimodal.export.frontends.layout import MeanOfFeatures, Stack, Stretch
from bimodal.export.frontends.levels import Fit, Rms, Scale, Standardise, Trim, ZeroCrossings
from bimodal.export.frontends.spectrum import Decibels, LogMel, Mel, Mfcc
from bimodal.export.frontends.speech import SpeechFrontend


class SpeechPreset(Struct, frozen=True):
    """A published speech network, without its weights.

    Attributes:
        frontend: from waveform to features.
        labels: the network's classes in output order; probabilities of equal ones are summed in the artifact.
        license: of the weights.
        source: where weights and preprocessing were published.
    """

    frontend: SpeechFrontend
    labels: tuple[str, ...]
    license: str
    source: str


# github.com/S-Gemmin/speech-emotion-recognition, src/config.py and src/preprocessing.py: pydub's integer samples at the
# file's own rate (48 kHz in RAVDESS), while librosa's filters assume its default of 22,050 Hz.
SER_352X15 = SpeechPreset(
    frontend=SpeechFrontend(
        sample_rate=48_000,
        window_s=3.75,
        minimum_window_s=1.0,
        steps=(
            Scale(32_768.0),
            Trim(top_db=25.0),
            Fit(180_000),
            Stack((ZeroCrossings(), Rms(), Mfcc(Mel(rate=22_050), coefficients=13))),
        ),
    ),
    labels=("neutral", "happy", "sad", "angry", "fear", "disgust"),
    license="MIT (weights); its training data, RAVDESS among it, is non-commercial",
    source="https://github.com/S-Gemmin/speech-emotion-recognition",
)

SEED_MEL15 = SpeechPreset(
    frontend=SpeechFrontend(
        sample_rate=16_000,
        window_s=1.0,
        minimum_window_s=1.0,
        steps=(
            Fit(16_000),
            LogMel(Mel(rate=16_000, bands=15, padding="reflect"), Decibels(reference="largest")),
            Standardise(),
            Stretch(352),
        ),
    ),
    labels=("neutral", "calm", "happy", "sad", "angry", "fear", "disgust", "surprise"),
    license="unknown",
    source="a network trained with the convention of 15 mel bands stretched to 352 steps",
)

# github.com/MiteshPuthran/Speech-Emotion-Analyzer, final_results_gender_test.ipynb: librosa.load(sr=44100,
# duration=2.5, offset=0.5), mfcc(n_mfcc=13), mean over the coefficients; librosa of 2017, whose frames were padded by
# reflection. Its classes are female and male angry, calm, fearful, happy, sad: each pair is summed.
CONV1D_216 = SpeechPreset(
    frontend=SpeechFrontend(
        sample_rate=44_100,
        window_s=2.5,
        minimum_window_s=2.5,
        steps=(Fit(110_250), Mfcc(Mel(rate=44_100, padding="reflect"), coefficients=13), MeanOfFeatures()),
    ),
    labels=("angry", "calm", "fearful", "happy", "sad") * 2,
    license="MIT (weights); its training data, RAVDESS and SAVEE, is non-commercial",
    source="https://github.com/MiteshPuthran/Speech-Emotion-Analyzer",
)

SPEECH_PRESETS: Mapping[str, SpeechPreset] = {
    "ser-352x15": SER_352X15,
    "seed-mel15": SEED_MEL15,
    "conv1d-216": CONV1D_216,
}
