"""File names of published data sets, which say the emotion and the speaker.

- RAVDESS: modality-channel-emotion-intensity-statement-repetition-actor (Livingstone & Russo 2018,
  doi:10.1371/journal.pone.0196391).
- CREMA-D: actor_sentence_emotion_level (Cao et al. 2014, doi:10.1109/TAFFC.2014.2336244).
- EMO-DB: speaker (2 digits), text (3), first letter of the emotion in German, version (Burkhardt et al. 2005).
- URDU: speaker with sex (SM, SF), file, letter of the emotion and number (Latif et al. 2018, arXiv:1812.10411).
- nEMO: actor, emotion, sentence (Christop 2024, arXiv:2404.06292).
- TESS: speaker (older or younger), word, emotion; ps is pleasant surprise (Pichora-Fuller & Dupuis 2020).
- SAVEE: letters of the emotion, sentence; the speaker is the folder or stands before it (Haq & Jackson 2009).
- JAFFE: person, emotion and repetition, number (Lyons et al. 1998, doi:10.1109/AFGR.1998.670949).
- KDEF: session, sex, person, emotion, angle (Lundqvist et al. 1998).
- CFEE: category (1 to 7 are the basic ones), person, number (Du et al. 2014, doi:10.1073/pnas.1322355111).
- MEAD as its samples are named here: speaker, emotion.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from bimodal.models.emotions import SEVEN, EmotionSet, emotion_of
from bimodal.models.errors import LabelError
from bimodal.training.datasets.items import label_of

RAVDESS_EMOTIONS = {
    "01": "neutral", "02": "calm", "03": "happy", "04": "sad",
    "05": "angry", "06": "fearful", "07": "disgust", "08": "surprised",
}  # fmt: skip
CREMA_D_EMOTIONS = {"ANG": "anger", "DIS": "disgust", "FEA": "fear", "HAP": "happy", "NEU": "neutral", "SAD": "sad"}
EMO_DB_EMOTIONS = {
    "W": "anger", "L": None, "E": "disgust", "A": "fear", "F": "happy", "T": "sad", "N": "neutral",
}  # fmt: skip
"""Wut, Langeweile (boredom: outside the seven), Ekel, Angst, Freude, Trauer, neutral."""
URDU_EMOTIONS = {"A": "anger", "H": "happy", "N": "neutral", "S": "sad"}
SAVEE_EMOTIONS = {
    "a": "anger", "d": "disgust", "f": "fear", "h": "happy", "n": "neutral", "sa": "sad", "su": "surprise",
}  # fmt: skip
JAFFE_EMOTIONS = {
    "AN": "anger", "DI": "disgust", "FE": "fear", "HA": "happy", "NE": "neutral", "SA": "sad", "SU": "surprise",
}  # fmt: skip
KDEF_EMOTIONS = {
    "AF": "fear", "AN": "anger", "DI": "disgust", "HA": "happy", "NE": "neutral", "SA": "sad", "SU": "surprise",
}  # fmt: skip
CFEE_EMOTIONS = ("neutral", "happy", "sad", "fear", "anger", "surprise", "disgust")
"""Categories 1 to 7; 8 to 22 are compounds, such as happily surprised: outside the seven."""

RAVDESS = re.compile(r"(0[123])-(0[12])-(0[1-8])-(0[12])-(0[12])-(0[12])-(\d\d)")
CREMA_D = re.compile(r"(1\d{3})_([A-Z]{3})_(ANG|DIS|FEA|HAP|NEU|SAD)_(LO|MD|HI|XX|X)")
EMO_DB = re.compile(r"(\d\d)([ab]\d\d)([WLEAFTN])([a-z]?)")
URDU = re.compile(r"(?:[a-z]+_)?(S[MF]\d+)_F\d+_([AHNS])\d+")
NEMO = re.compile(r"([A-Z]{2}\d)_(anger|fear|happiness|neutral|sadness|surprised?)_(\d+)")
TESS = re.compile(r"(OAF|YAF|OA)_([a-z]+)_(angry|disgust|fear|happy|neutral|ps|sad)", re.IGNORECASE)
SAVEE = re.compile(r"(?:(DC|JE|JK|KL)_)?(sa|su|[adfhn])(\d\d)")
SAVEE_SPEAKERS = ("DC", "JE", "JK", "KL")
JAFFE = re.compile(r"([A-Z]{2})\.(AN|DI|FE|HA|NE|SA|SU)(\d)\.(\d+)")
KDEF = re.compile(r"([AB])([FM]\d\d)(AF|AN|DI|HA|NE|SA|SU)(FL|HL|S|HR|FR)", re.IGNORECASE)
CFEE = re.compile(r"(0[1-9]|1\d|2[0-2])_(\d{3})_(\d{3,5})")
MEAD = re.compile(r"mead_([MW]\d{3})_([a-z]+)", re.IGNORECASE)


@dataclass(frozen=True)
class Named:
    """A parsed file name: the emotion (None: outside the seven) and the speaker; `word`: what the data set itself says,
    where that is not the same; `corpus`: the data set, one of CORPORA, where any of them was looked for."""

    emotion: str | None
    speaker: str
    word: str | None = None
    corpus: str = ""

    def label(self, where: str, among: EmotionSet = SEVEN) -> int | None:
        """Index of the emotion among those of a set; None outside it."""
        if among.is_seven:
            return None if self.emotion is None else label_of(self.emotion, where)
        word = self.word or self.emotion
        try:
            meant = None if word is None else among.meant_by(word)
        except LabelError:  # a category of the data set that the set does not ask for
            return None
        return among.emotions.index(meant) if meant in among.emotions else None


def ravdess(stem: str, modalities: tuple[str, ...]) -> Named | None:
    """Parse a RAVDESS name of speech (channel 01) in one of the modalities (01 both, 02 picture, 03 sound).

    Else None.
    """
    match = RAVDESS.fullmatch(stem)
    if match is None or match[1] not in modalities or match[2] != "01":
        return None
    word = RAVDESS_EMOTIONS[match[3]]
    return Named(emotion_of(word), f"Actor_{match[7]}", "calm" if word == "calm" else None)


def crema_d(stem: str) -> Named | None:
    """Parse a CREMA-D name; None for any other. One file of the original ends in _X instead of _XX."""
    match = CREMA_D.fullmatch(stem)
    return None if match is None else Named(CREMA_D_EMOTIONS[match[3]], match[1])


def emo_db(stem: str) -> Named | None:
    """Parse an EMO-DB name; None for any other."""
    match = EMO_DB.fullmatch(stem)
    return None if match is None else Named(EMO_DB_EMOTIONS[match[3]], match[1], "boredom" if match[3] == "L" else None)


def urdu(stem: str) -> Named | None:
    """Parse a name of the URDU corpus, also one with the emotion as a word before it; None for any other."""
    match = URDU.fullmatch(stem)
    return None if match is None else Named(URDU_EMOTIONS[match[2]], match[1])


def nemo(stem: str) -> Named | None:
    """Parse an nEMO name; None for any other."""
    match = NEMO.fullmatch(stem)
    return None if match is None else Named(emotion_of(match[2]), match[1])


def tess(stem: str) -> Named | None:
    """Parse a TESS name; None for any other. Some files of the original begin with OA instead of OAF."""
    match = TESS.fullmatch(stem)
    return None if match is None else Named(emotion_of(match[3]), match[1].upper()[:2] + "F")


def savee(path: Path) -> Named | None:
    """Parse a SAVEE path: DC/a01.wav or DC_a01.wav; None for any other."""
    match = SAVEE.fullmatch(path.stem)
    speaker = (match[1] or path.parent.name) if match else ""
    return Named(SAVEE_EMOTIONS[match[2]], speaker) if match and speaker in SAVEE_SPEAKERS else None


def jaffe(stem: str) -> Named | None:
    """Parse a JAFFE name; None for any other."""
    match = JAFFE.fullmatch(stem)
    return None if match is None else Named(JAFFE_EMOTIONS[match[2]], match[1])


def kdef(stem: str) -> Named | None:
    """Parse a KDEF name; None for any other."""
    match = KDEF.fullmatch(stem)
    return None if match is None else Named(KDEF_EMOTIONS[match[3].upper()], match[2].upper())


def cfee(stem: str) -> Named | None:
    """Parse a CFEE name; None for any other. Compound expressions are outside the seven."""
    match = CFEE.fullmatch(stem)
    if match is None:
        return None
    place = int(match[1]) - 1
    return Named(CFEE_EMOTIONS[place] if place < len(CFEE_EMOTIONS) else None, match[2])


def clip(stem: str, among: EmotionSet = SEVEN) -> Named | None:
    """Parse a name of a clip with speech by any of the schemes above, or MEAD's, which may have any word of a set.

    None without a known emotion.
    """
    for corpus, named in (
        ("ravdess", ravdess(stem, ("01", "02", "03"))), ("crema-d", crema_d(stem)), ("emo-db", emo_db(stem)),
        ("urdu", urdu(stem)), ("nemo", nemo(stem)), ("tess", tess(stem)),
    ):  # fmt: skip
        if named is not None:
            return replace(named, corpus=corpus)
    match = MEAD.match(stem)
    if match is None:
        return None
    word = match[2]
    try:
        meant = among.meant_by(word)
    except LabelError:
        return None
    return Named(meant, match[1], None if among.is_seven else word)


CORPORA = (
    "affectnet", "cfee", "crema-d", "emo-db", "fer2013", "jaffe", "kdef", "nemo", "raf-db", "ravdess", "savee", "tess",
    "urdu",
)  # fmt: skip
"""Published data sets, as parts of them are named in an artifact's `trained_on`."""
FORMS = re.compile(r"(video|table|folders)$")
"""Ends of readers' names that tell forms of one data set apart: ravdess-video holds the voices of ravdess."""
FEMALE = {"emo-db": ("08", "09", "13", "14", "16"), "tess": ("OAF", "YAF"), "savee": ()}
"""Female speakers of the corpora whose documentation, not the names, says the sex."""
LANGUAGES = {
    "ravdess": "English", "crema-d": "English", "savee": "English", "tess": "English",
    "emo-db": "German", "urdu": "Urdu", "nemo": "Polish",
}  # fmt: skip
"""Language that is spoken in a corpus, by its reader's name."""


def sex_of(corpus: str, speaker: str) -> str | None:
    """'female' or 'male' by a corpus and its name of a speaker; None where neither tells."""
    corpus = corpus_named(corpus) or corpus
    if corpus in FEMALE:
        return "female" if speaker in FEMALE[corpus] else "male"
    number = re.fullmatch(r"Actor_(\d+)", speaker)
    if corpus == "ravdess" and number:
        return "male" if int(number[1]) % 2 else "female"
    letter = re.fullmatch(r"S([MF])\d+", speaker)
    return {"M": "male", "F": "female"}[letter[1]] if corpus == "urdu" and letter else None


def language_of(corpus: str) -> str | None:
    """Language of a corpus; None where it is not known."""
    return LANGUAGES.get(corpus_named(corpus) or "")


def corpus_named(word: str) -> str | None:
    """The data set of CORPORA that a word names: `emodb`, `EMO-DB` and `emo_db` are emo-db; None for any other."""
    plain = {name.replace("-", ""): name for name in CORPORA}
    return plain.get(FORMS.sub("", re.sub(r"[-_\s]", "", word.lower())))


def same_part(part: str) -> str:
    """A part of a data set, as in `trained_on`, with the data set's usual name: `emodb/03` is emo-db/03."""
    corpus, slash, rest = part.partition("/")
    return (corpus_named(corpus) or corpus) + slash + rest
