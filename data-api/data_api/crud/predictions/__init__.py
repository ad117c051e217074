"""SQL about predictions: predictions, feedback, corrections, labelling, accuracy and partitions."""
