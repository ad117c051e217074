"""Parts of a training's record: model card, plots, environment, learning curves."""
