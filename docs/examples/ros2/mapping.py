"""Events of bimodal as messages of ROS4HRI (REP-155, the package hri_msgs). Pure: dicts in, dicts out; Python 3.8."""

import json
import re

EXPRESSIONS = {
    "neutral": "neutral",
    "happy": "happy",
    "sad": "sad",
    "surprise": "surprised",
    "fear": "scared",
    "disgust": "disgusted",
    "anger": "angry",
}
"""Names of hri_msgs/Expression."""
ACTION_UNITS = 99
"""Length of the arrays of hri_msgs/FacialActionUnits."""

LATELY_NS = 2 * 10**9
"""The faces of a stream without events for so long are not tracked any more."""

IDS, ROI = "hri_msgs/msg/IdsList", "hri_msgs/msg/NormalizedRegionOfInterest2D"
EXPRESSION, FACS = "hri_msgs/msg/Expression", "hri_msgs/msg/FacialActionUnits"
BOOL, STRING = "std_msgs/msg/Bool", "std_msgs/msg/String"


def name(text):
    """Any text as part of a ROS name: letters, digits and single underscores, not beginning with a digit."""
    found = re.sub(r"_+", "_", re.sub(r"[^A-Za-z0-9]", "_", text)).strip("_")
    return found if found[:1].isalpha() else f"s{found}"


def face_id(event, face):
    """The id of a face: stream and track, the same as long as the face is followed."""
    return f"{name(event['stream'])}_{face['track']}"


def acquired_ns(event, now_ns):
    """When the frame was grabbed, on the clock of `now_ns`, which is read as the event arrives."""
    return now_ns - int(event["latency_ms"]["total"] * 1e6)


class Humans:
    """Turns events of all streams into messages: (topic, type, fields), the fields as rosbridge and rosidl take them.

    The lists of tracked faces and voices are those of all streams together. What is unknown is left out.
    """

    def __init__(self, frame_id):
        """`frame_id`: the camera's frame, for the headers."""
        self._frame_id = frame_id
        self._faces = {}
        self._voices = {}

    def messages(self, event, stamp_ns):
        """The messages of one event; `stamp_ns`: when its frame was grabbed, on ROS's clock."""
        stamp = {"sec": stamp_ns // 10**9, "nanosec": stamp_ns % 10**9}
        header = {"stamp": stamp, "frame_id": self._frame_id}
        ids = [face_id(event, face) for face in event["faces"]]
        speech, stream = event["speech"], name(event["stream"])
        faces = _together(self._faces, stream, ids, stamp_ns)
        voices = _together(self._voices, stream, [] if speech is None else [stream], stamp_ns)
        found = [
            ("/humans/faces/tracked", IDS, {"header": header, "ids": faces}),
            ("/humans/voices/tracked", IDS, {"header": header, "ids": voices}),
        ]
        for face_name, face in zip(ids, event["faces"]):  # noqa: B905
            found += _face(f"/humans/faces/{face_name}", header, face, event.get("size"))
        if speech is not None:
            found.append((f"/humans/voices/{stream}/is_speaking", BOOL, {"data": speech["label"] is not None}))
        return [*found, (f"/bimodal/{stream}/event", STRING, {"data": json.dumps(event)})]


def _together(known, stream, ids, stamp_ns):
    """The ids of all streams that had an event lately."""
    known[stream] = (stamp_ns, ids)
    for other in [other for other, (seen_ns, _) in known.items() if stamp_ns - seen_ns > LATELY_NS]:
        del known[other]
    return [one for _, others in sorted(known.items()) for one in others[1]]


def _face(at, header, face, size):
    found = [
        (f"{at}/expression", EXPRESSION, {"header": header, **expression(face)}),
        (f"{at}/is_speaking", BOOL, {"data": face["weights"].get("speech", 0.0) > 0}),
    ]
    if size is not None:
        found.append((f"{at}/roi", ROI, {"header": header, **roi(face, size)}))
    units = (face.get("face") or {}).get("units")
    if units:
        found.append((f"{at}/facs", FACS, {"header": header, **action_units(units, face["presence"])}))
    return found


def expression(face):
    """Label, confidence, valence and arousal of a face; valence and arousal are 0 where they are unknown."""
    measures = face.get("face") or {}
    return {
        "expression": EXPRESSIONS.get(face["label"], face["label"]),
        "confidence": float(face["confidence"]),
        "valence": float(measures.get("valence") or 0.0),
        "arousal": float(measures.get("arousal") or 0.0),
    }


def roi(face, size):
    """The box as shares of the picture, cut at its edges."""
    x, y, width, height = face["box"]
    edges = {"xmin": x / size[0], "ymin": y / size[1], "xmax": (x + width) / size[0], "ymax": (y + height) / size[1]}
    return {**{key: min(1.0, max(0.0, value)) for key, value in edges.items()}, "c": float(face["score"])}


def action_units(units, confidence):
    """Derived action units ("au12_derived") at their FACS numbers; a confidence of 0 means that one is unknown."""
    intensity, sure = [0.0] * ACTION_UNITS, [0.0] * ACTION_UNITS
    for unit, value in units.items():
        number = int(re.sub(r"\D", "", unit))
        intensity[number], sure[number] = float(value), float(confidence)
    return {"intensity": intensity, "confidence": sure}
