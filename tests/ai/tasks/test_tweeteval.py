"""TweetEval's files as they are published: three sets of labels over one row, the official split kept."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ai_api.datasets import Table, row_hash, split
from ai_api.errors import InvalidData
from ai_api.sources import Source
from ai_api.task import Kind, Task
from ai_api.tasks.emotion import EMOTION, generate_emotion
from ai_api.tasks.emotion import TASK as EMOTION_TASK
from ai_api.tasks.irony import IRONY, generate_irony
from ai_api.tasks.irony import TASK as IRONY_TASK
from ai_api.tasks.tweeteval import FOLDER, LabelSet
from ai_api.tasks.tweets import ENCODERS, SENTIMENT, generate_tweets
from ai_api.tasks.tweets import TASK as TWEETS_TASK

MIRROR = os.environ.get("AI_DATA_MIRROR")
SETS = [SENTIMENT, EMOTION, IRONY]
TASKS = [TWEETS_TASK, EMOTION_TASK, IRONY_TASK]


def write(mirror: Path, labels: LabelSet, **files: bytes) -> Source:
    """A mirror with TweetEval's four files, some of them replaced."""
    content = {
        "train_text": b"One \xe2\x80\xa8 line @user\ntwo\nthree\n",
        "train_labels": b"0\n1\n0\n",
        "val_text": b"four\nTwo \n",
        "val_labels": b"1\n0\n",
    }
    folder = mirror / FOLDER / labels.name
    folder.mkdir(parents=True)
    for name, body in {**content, **files}.items():
        (folder / f"{name}.txt").write_bytes(body)
    return Source(mirror / "raw", mirror)


@pytest.mark.parametrize("labels", SETS, ids=lambda labels: labels.name)
def test_lines_become_rows_with_the_names_of_their_labels(labels: LabelSet, tmp_path: Path) -> None:
    table = labels.read(write(tmp_path, labels))
    assert [row["text"] for row in table.rows] == ["One \u2028 line @user", "two", "three", "four", "Two "]
    assert table.truths.tolist() == [labels.labels[number] for number in (0, 1, 0, 1, 0)]
    assert table.official is not None
    assert table.official.tolist() == [False, False, False, True, True]
    parts = split(table)
    assert len(parts.held_out) == 2
    assert row_hash({"text": "two"}) not in [*parts.train.hashes, *parts.unseen.hashes]


@pytest.mark.parametrize(
    "files", [{"val_labels": b"1\n"}, {"train_labels": b"0\n1\n9\n"}, {"train_labels": b"0\n1\nx\n"}]
)
def test_files_that_do_not_fit_each_other_are_refused(files: dict[str, bytes], tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match="irony"):
        IRONY.read(write(tmp_path, IRONY, **files))


@pytest.mark.parametrize("labels", SETS, ids=lambda labels: labels.name)
def test_every_file_has_the_checksum_of_its_publisher(labels: LabelSet) -> None:
    for name in ("train_text.txt", "train_labels.txt", "val_text.txt", "val_labels.txt"):
        file = labels.file(name)
        assert (file.sha256 is None) != (file.git_blob is None)
        assert file.url.endswith(f"/datasets/{labels.name}/{name}")


@pytest.mark.skipif(not MIRROR, reason="the real rows are where AI_DATA_MIRROR says")
def test_the_mirror_holds_the_files_that_the_checksums_mean() -> None:
    mirror = Path(str(MIRROR))
    counts = {"sentiment": (45_615, 2_000), "emotion": (3_257, 374), "irony": (2_862, 955)}
    for labels in SETS:
        for name, digest in labels.sums.items():
            assert hashlib.sha256((mirror / labels.file(name).name).read_bytes()).hexdigest() == digest
        table = labels.read(Source(mirror / "none", mirror))
        assert table.official is not None
        assert (int(np.sum(~table.official)), int(np.sum(table.official))) == counts[labels.name]
        assert set(table.truths) == set(labels.labels)
        assert max(len(str(row["text"])) for row in table.rows) <= 2_000


@pytest.mark.parametrize(
    ("generate", "labels"), [(generate_tweets, SENTIMENT), (generate_emotion, EMOTION), (generate_irony, IRONY)]
)
def test_generated_rows_have_the_labels_of_real_ones(generate: Callable[..., Table], labels: LabelSet) -> None:
    table = generate(500, seed=3)
    assert Counter(table.truths).keys() == set(labels.labels)
    assert table.digest() == generate(500, seed=3).digest() != generate(500, seed=4).digest()


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_task_has_a_description_a_licence_and_published_figures(task: Task) -> None:
    assert task.kind is Kind.CLASSIFICATION
    assert task.metrics[0] == task.metric
    assert len(task.published) == 7
    assert all(figure.metric == task.metric and 0.5 < figure.value < 0.9 for figure in task.published)
    assert task.about
    assert task.licence
    assert task.recipes[0].name == "tfidf+logreg"


def test_tweets_have_every_encoder_with_every_classifier() -> None:
    names = [recipe.name for recipe in TWEETS_TASK.recipes]
    assert len(names) == len(set(names))
    assert set(names) == {f"{text}+{last}" for text in ENCODERS for last in ("logreg", "forest", "xgboost")} | {"bert"}
    default = {recipe.name for recipe in TWEETS_TASK.recipes if recipe.is_default}
    assert default == {"tfidf+logreg", "minilm+logreg", "word2vec+logreg", "bert"}
