"""Offline side: data sets, splits, the trainer, baselines and the export of artifacts."""
