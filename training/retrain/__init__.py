"""Nightly retraining: from what happened since the last run to the decision whether the new model may serve."""
