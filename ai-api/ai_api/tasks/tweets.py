"""Sentiment of a tweet: TweetEval's three classes (SemEval-2017 task 4, Rosenthal et al.), its official split."""

from __future__ import annotations

from ai_api.datasets import Table
from ai_api.sources import Source, real_or_generated
from ai_api.task import Kind, Recipe, Task

from .tweeteval import LICENCE, PLAIN, LabelSet, Tweet, generate, published

SENTIMENT = LabelSet(
    name="sentiment",
    labels=("negative", "neutral", "positive"),
    sums={
        "train_labels.txt": "122bfb1732fb6995b0e5c5f726c0ba457c469c3b6e60513007ce5037f23e65d4",
        "val_text.txt": "e5b021e6fc45064c260b09814b803d8f56cada519c4d952d72f43d48a350a964",
        "val_labels.txt": "b4566926c72e2e4e2916c864def94e76c4cdde52446af2c7ba4fc2006e057e51",
    },
    git_blobs={"train_text.txt": "a2c955f25c9c75a51680b5ce8e75e6c63ca835e1"},
)
GOOD, BAD = ("love", "great", "happy", "thanks", "brilliant"), ("hate", "awful", "late", "broken", "never again")


def read_tweets(source: Source) -> Table:
    return real_or_generated(lambda: SENTIMENT.read(source), generate_tweets, "tweets")


def generate_tweets(rows: int = 3_000, seed: int = 0) -> Table:
    return generate({"negative": BAD, "neutral": PLAIN, "positive": GOOD}, (0.2, 0.45, 0.35), rows, seed)


ENCODERS = ("tfidf", "minilm", "word2vec", "glove", "use")
# For trees, hashed columns that few rows fill are left out: with all of them a training takes an hour.
OFTEN = {"text__words__keep__least": 40, "text__pieces__keep__least": 200}
FOREST = {"max_features": "sqrt", "min_samples_leaf": 3}
XGBOOST = {"n_estimators": 200, "learning_rate": 0.15, "max_bin": 32, "colsample_bytree": 0.3}

TASK = Task(
    name="tweets",
    kind=Kind.CLASSIFICATION,
    row=Tweet,
    metric="macro_recall",
    # Two versions on the 2,000 official rows: the interval of their difference reaches 0.012 to 0.020 to either side.
    # A smaller margin would refuse equal versions because of noise.
    # One person's wrong labels on 6,000 rows cost 0.05 to 0.08 a class.
    margin=0.02,
    load=read_tweets,
    recipes=(
        *(Recipe("logreg", text=text, is_default=text in ("tfidf", "minilm", "word2vec")) for text in ENCODERS),
        Recipe("bert", text="raw", title="bert"),
        Recipe("forest", text="tfidf", params={**FOREST, **OFTEN}, is_default=False),
        Recipe("xgboost", text="tfidf", params={**XGBOOST, **OFTEN}, is_default=False),
        *(Recipe("forest", text=text, params=FOREST, is_default=False) for text in ENCODERS[1:]),
        *(Recipe("xgboost", text=text, params=XGBOOST, is_default=False) for text in ENCODERS[1:]),
    ),
    metrics=("macro_recall", "macro_f1", "accuracy"),
    about="Whether a tweet is negative, neutral or positive.",
    licence=LICENCE,
    published=published("macro_recall", 0.629, 0.629, 0.583, 0.713, 0.728, 0.737, 0.734),
)
