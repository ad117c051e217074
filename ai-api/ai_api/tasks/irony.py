"""Irony in a tweet: TweetEval's two classes (SemEval-2018 task 3, Van Hee et al.), its official split."""

from __future__ import annotations

from ai_api.datasets import Table
from ai_api.sources import Source, real_or_generated
from ai_api.task import Kind, Recipe, Task

from .tweeteval import LICENCE, LabelSet, Tweet, generate, published

IRONY = LabelSet(
    name="irony",
    labels=("non_irony", "irony"),
    sums={
        "train_text.txt": "a888125a44f7dfaa25b026318748d0e62cc9a300d20f66eafd62011a19eaea23",
        "train_labels.txt": "fc69e6106c0f1f433a91536e08f83c71a391d7b219f7684d42f243a8089af77d",
        "val_text.txt": "8806cf3793e300a485cfae34892fc3a0a2f9a183deb06c750c6531515c83051e",
        "val_labels.txt": "ccf429f63b4e8d0e7f425ca09445f7c31f7cea8a1b7c283b015b117c4002fd07",
    },
    git_blobs={},
)
WORDS = {
    "non_irony": ("at nine", "with friends", "good morning", "on sale"),
    "irony": ("oh great", "just what i needed", "lucky me", "how wonderful"),
}


def read_irony(source: Source) -> Table:
    return real_or_generated(lambda: IRONY.read(source), generate_irony, "irony")


def generate_irony(rows: int = 3_000, seed: int = 0) -> Table:
    return generate(WORDS, (0.5, 0.5), rows, seed)


TASK = Task(
    name="irony",
    kind=Kind.CLASSIFICATION,
    row=Tweet,
    metric="f1",
    # Two versions that nine tenths of the rows each made: on 955 official rows their difference spans 0.02.
    margin=0.02,
    load=read_irony,
    recipes=(
        Recipe("logreg", text="tfidf"),
        Recipe("logreg", text="minilm"),
        Recipe("bert", text="raw", title="bert", is_default=False),
    ),
    metrics=("f1", "precision", "recall", "accuracy"),
    positive="irony",
    about="Whether a tweet is ironic.",
    licence=LICENCE,
    published=published("f1", 0.617, 0.631, 0.628, 0.597, 0.617, 0.645, 0.821),
)
