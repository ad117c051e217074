"""The base of the neural estimators: the schedule, the average of the weights, and the saved state."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn

from ai_api.errors import TrainingFailed
from ai_api.estimators.neural import Batch, Group, NeuralClassifier, Places, TrainingSchedule, require, seeded, train
from ai_api.features.tensors import find_device

pytestmark = pytest.mark.training

CPU = torch.device("cpu")
INPUTS = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
LABELS = np.where(INPUTS[:, 0] > 0, "up", "down").astype(object)


class Linear(NeuralClassifier):
    """The smallest neural estimator: one layer."""

    def __init__(self, device: str = "auto", random_state: int = 0) -> None:
        self.device = device
        self.random_state = random_state

    def fit(self, inputs: object, labels: object) -> Linear:
        self.classes_, truths = np.unique(labels, return_inverse=True)  # type: ignore[call-overload]
        with seeded(self.random_state, CPU):
            module = self._architecture()
            history = train(module, groups(module), batches(truths, 40), TrainingSchedule(40, average=0.9), CPU)
        self._keep(module, history)
        return self

    def _architecture(self) -> nn.Module:
        return nn.Linear(3, len(self.classes_))

    def _scores(self, module: nn.Module, inputs: object, device: torch.device) -> Iterator[tuple[Places, torch.Tensor]]:
        yield slice(None), module(torch.as_tensor(inputs, device=device))


def groups(module: nn.Module, rate: float = 0.1) -> list[Group]:
    return [{"params": list(module.parameters()), "lr": rate, "weight_decay": 0.0}]


def batches(truths: np.ndarray, steps: int) -> Iterator[Batch]:
    for _ in range(steps):
        yield (torch.from_numpy(INPUTS),), torch.from_numpy(truths)


def test_the_learning_rate_rises_then_falls_to_nearly_nothing() -> None:
    rates = [TrainingSchedule(100, warm_up=0.2).rate(step) for step in range(100)]
    assert np.argmax(rates) == 20
    assert max(rates) == pytest.approx(1, abs=0.05)
    assert (np.diff(rates[:21]) > 0).all()
    assert (np.diff(rates[20:]) < 0).all()
    assert 0 < rates[-1] < 0.02


def test_a_training_of_one_step_has_a_rate() -> None:
    assert TrainingSchedule(1).rate(0) > 0


def test_it_learns_and_predicts_probabilities() -> None:
    fitted = Linear().fit(INPUTS, LABELS)
    assert fitted.score(INPUTS, LABELS) > 0.95
    np.testing.assert_allclose(fitted.predict_proba(INPUTS).sum(axis=1), 1)
    assert [step for _, _, step in fitted.history_] == list(range(1, 41))


def test_weights_are_arrays_and_matrices_take_half_the_room() -> None:
    fitted = Linear().fit(INPUTS, LABELS)
    fitted.predict(INPUTS)
    assert {name: value.dtype for name, value in fitted.weights_.items()} == {"weight": np.float16, "bias": np.float32}
    assert not any(isinstance(value, nn.Module | tuple) for value in fitted.__getstate__().values())


def test_a_clone_is_as_new_and_a_second_fit_replaces_the_first() -> None:
    fitted = Linear(random_state=3).fit(INPUTS, LABELS)
    assert not hasattr(clone(fitted), "weights_")
    before = fitted.predict(INPUTS)
    turned = np.where(LABELS == "up", "down", "up").astype(object)
    assert (fitted.fit(INPUTS, turned).predict(INPUTS) != before).mean() > 0.9


def test_a_version_that_was_just_loaded_predicts_in_many_threads() -> None:
    fitted = Linear().fit(INPUTS, LABELS)
    with ThreadPoolExecutor(8) as pool:
        predictions = list(pool.map(fitted.predict_proba, [INPUTS] * 16))
    assert all((found == predictions[0]).all() for found in predictions)


def test_the_average_lags_behind_and_is_what_is_kept() -> None:
    kept = {}
    for decay in (0.0, 0.9):
        module = nn.Linear(3, 2)
        nn.init.zeros_(module.weight)
        nn.init.zeros_(module.bias)
        always_up = np.ones(len(LABELS), dtype=np.int64)  # so that this label's bias rises with every step
        train(module, groups(module), batches(always_up, 20), TrainingSchedule(20, average=decay), CPU)
        kept[decay] = module.bias[1].item()
    assert 0 < kept[0.9] < kept[0.0]


def test_seeded_draws_are_the_same_and_leave_the_generator_as_it_was() -> None:
    before = torch.random.get_rng_state()
    drawn = []
    for _ in range(2):
        with seeded(5, CPU):
            drawn.append(torch.rand(4))
    assert torch.equal(drawn[0], drawn[1])
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_training_uses_its_number_of_threads_and_restores_it() -> None:
    before = torch.get_num_threads()
    with seeded(5, CPU, threads=before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def test_a_loss_that_is_not_finite_stops_the_training() -> None:
    module = nn.Linear(3, 2)
    nn.init.constant_(module.weight, float("nan"))
    with pytest.raises(TrainingFailed, match="learning_rate"):
        train(module, groups(module), batches(np.zeros(64, dtype=np.int64), 3), TrainingSchedule(3), CPU)


def test_a_missing_library_is_named_without_importing_the_others() -> None:
    with pytest.raises(ImportError) as error:
        require("torch", "no_such_library")
    assert error.value.name == "no_such_library"


def test_auto_is_a_device_of_this_machine() -> None:
    assert find_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert find_device("cpu") == CPU
