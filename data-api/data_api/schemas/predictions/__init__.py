"""Bodies about predictions: predictions, feedback, corrections, labelling and accuracy."""
