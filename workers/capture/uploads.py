"""Check of files that strangers send: one file of media, and nothing that names other files or addresses."""

from __future__ import annotations

from pathlib import Path

import av

from bimodal.workers.capture import photos
from bimodal.workers.errors import SourceError

# FFmpeg's formats that hold media themselves. Playlists (HLS, DASH, concat, SDP …) would have it open other files of
# this machine, and addresses.
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,mpegvideo,m4v,asf,flv,live_flv,ogg,mxf,dv,rm,ivf,nut,h264,hevc,"
    "mjpeg,yuv4mpegpipe,amv,wav,w64,flac,mp3,aac,ac3,eac3,aiff,au,caf,amr,amrnb,amrwb,ape,wv,tta,dts,gsm,voc,nistsphere,"
    "gif,apng,bmp_pipe,gif_pipe,j2k_pipe,jpeg_pipe,jpegls_pipe,jpegxl_pipe,jpegxl_anim,png_pipe,pgm_pipe,ppm_pipe,pbm_pipe,"
    "pam_pipe,qoi_pipe,tiff_pipe,webp_pipe"
)


def check_upload(path: Path) -> None:
    """Raise SourceError unless a file is media by itself."""
    if photos.is_animated_webp(path):
        return
    try:
        av.open(str(path), options={"format_whitelist": FORMATS, "protocol_whitelist": "file"}).close()
    except (av.FFmpegError, ValueError, OSError) as error:
        raise SourceError(
            "it is no media file, or a kind of file that is not taken from others (a list of files, a text)"
        ) from error
