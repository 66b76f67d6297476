"""What has changed since the model was trained: histories, items, what is popular. It all follows from the log."""
