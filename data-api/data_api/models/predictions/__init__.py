"""Tables of predictions: predictions, feedback, training rows and labelling."""
