#!/bin/sh
# Make bimodal a service of this machine: the user, the config, the unit. As root; may be run again after an update.
set -eu
here=$(dirname "$0")
[ -x /opt/bimodal/bin/bimodal ] || { echo "first: python3 -m venv /opt/bimodal && /opt/bimodal/bin/pip install bimodal-emotion" >&2; exit 1; }
id bimodal > /dev/null 2>&1 || useradd --system --user-group --home-dir /var/lib/bimodal --shell /usr/sbin/nologin bimodal
install -d -m 0755 /etc/bimodal
[ -e /etc/bimodal/config.yaml ] || install -m 0640 -g bimodal "$here/config.yaml" /etc/bimodal/config.yaml
install -m 0644 "$here/bimodal.service" /etc/systemd/system/bimodal.service
systemctl daemon-reload
systemctl enable --now bimodal
