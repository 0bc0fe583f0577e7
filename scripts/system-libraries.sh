#!/bin/sh
# The system libraries that pip can't bring. Installs them where it may (root on Debian or Ubuntu), else says what
# is missing and goes on: without PortAudio there is no microphone, everything else works.
set -eu

missing=""
libraries=$(ldconfig -p 2>/dev/null || true)
case "$libraries" in *libportaudio.so.2*) ;; *) missing="$missing libportaudio2" ;; esac
case "$libraries" in *libGL.so.1*) ;; *) missing="$missing libgl1" ;; esac
case "$libraries" in *libglib-2.0.so.0*) ;; *) missing="$missing libglib2.0-0" ;; esac
# The documentation draws its diagrams with Graphviz; nothing else needs it.
[ "${1:-}" != docs ] || command -v dot >/dev/null || missing="$missing graphviz"
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing$missing"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
else
    echo "please install:$missing (Debian and Ubuntu: sudo apt-get install$missing)" >&2
fi
