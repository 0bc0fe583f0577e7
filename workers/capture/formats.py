"""Endings of files that hold media, for folders and globs. Files that are named may have any ending."""

from __future__ import annotations


def _endings(text: str) -> frozenset[str]:
    return frozenset(f".{ending}" for ending in text.split())


PICTURES = _endings("jpg jpeg jpe jfif png apng bmp gif webp tif tiff heic heif avif jp2 j2k jxl ppm pgm pnm tga dng")
VIDEO = _endings(
    "mp4 m4v mov mkv webm avi mpg mpeg mpe m2v vob ts mts m2ts m2t mod tod 3gp 3g2 wmv asf flv f4v ogv ogm mxf dv dif "
    "y4m divx rm rmvb qt amv h264 264 h265 hevc ivf nut mjpeg mjpg"
)
SOUND = _endings(
    "wav wave bwf rf64 w64 flac mp3 m4a m4b aac ac3 eac3 ogg oga opus spx wma aif aiff aifc au snd caf amr awb ape wv "
    "mka mp2 mpa tta dts gsm voc sph"
)
SUFFIXES = PICTURES | VIDEO | SOUND
