"""Offline: data sets, training, evaluation, calibration."""
