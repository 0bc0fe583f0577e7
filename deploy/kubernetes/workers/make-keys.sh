#!/bin/sh
# Make the keys of a session and of its workers, and print them as Secrets:
#   sh deploy/kubernetes/workers/make-keys.sh | kubectl apply -f -
# Needs 'bimodal' here. The secret halves are in what is printed, and nowhere else.
set -eu
umask 077
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
for side in session worker; do
    XDG_CONFIG_HOME="$place/$side" bimodal keys create > /dev/null
done
public() { XDG_CONFIG_HOME="$place/$1" bimodal keys show; }
secret() { base64 < "$place/$1/bimodal/keys/bimodal.key_secret" | tr -d '\n'; }
encoded() { printf %s "$1" | base64 | tr -d '\n'; }
cat <<END
apiVersion: v1
kind: Secret
metadata: {name: bimodal-session-key}
data:
  bimodal.key_secret: $(secret session)
---
apiVersion: v1
kind: Secret
metadata: {name: bimodal-worker-key}
data:
  bimodal.key_secret: $(secret worker)
  public: $(encoded "$(public worker)")
  server: $(encoded "$(public session)")
END
