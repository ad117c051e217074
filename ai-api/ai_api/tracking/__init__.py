"""What a training records besides its figures: model card, plots, environment, history."""
