"""The card that tests pretend: what it refuses, and that nothing slips off it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from bundle3d.tests.support.pretended_card import CARD, CPU, CardError, CardHolder, PretendedCard
from torch import nn
from torch.nn import functional

ROWS = torch.arange(12, dtype=torch.float32).reshape(4, 3)
INDEX = torch.tensor([2, 0])


@pytest.fixture(autouse=True)
def pretending() -> Iterator[None]:
    with PretendedCard():
        yield


@pytest.mark.parametrize(
    "mix",
    [
        lambda card: card + ROWS,
        lambda card: torch.cat((card, ROWS)),
        lambda card: functional.embedding_bag(INDEX[None], card, mode="sum"),
        lambda card: functional.linear(ROWS, weight=card),
        lambda card: ROWS[INDEX.to(CARD)],
        lambda card: ROWS.index_select(0, INDEX.to(CARD)),
        lambda card: card.index_select(0, INDEX),
        lambda card: card.__setitem__(slice(0, 2), ROWS[:2]),
        lambda card: ROWS.clone().add_(card),
        lambda card: nn.Linear(3, 2)(card),
        lambda card: card.numpy(),
        lambda card: np.asarray(card),
        lambda card: card.double(),
        lambda card: card.sum(dtype=torch.float64),
        lambda card: torch.zeros(2, dtype=torch.float64, device=CARD),
    ],
)
def test_what_a_card_cannot_do_raises(mix: Callable[[torch.Tensor], object]) -> None:
    with pytest.raises(CardError):
        mix(ROWS.to(CARD))


@pytest.mark.parametrize(
    "make",
    [
        lambda card: card * 2.0 + torch.tensor(1.0),
        lambda card: card[INDEX],
        lambda card: card[card > 3],
        lambda card: card.T.unflatten(0, (3, 1)),
        lambda card: card.topk(2, dim=1).indices,
        lambda card: card.split(2)[1],
        lambda card: next(iter(card)),
        lambda card: (card > 3).nonzero(as_tuple=True)[1],
        lambda card: torch.unique(card, return_inverse=True)[1],
        lambda card: card.new_tensor((1.0, 2.0)),
        lambda card: torch.zeros_like(card).add_(1.0),
        lambda card: torch.arange(3, device=card.device),
        lambda card: torch.zeros(3, device="mps"),
        lambda card: ROWS.to(card),
        lambda card: ROWS.double().to(CARD, torch.float32),
        lambda card: ROWS.to(device=CARD, dtype=torch.float16),
    ],
)
def test_what_is_computed_of_a_tensor_on_the_card_is_there(make: Callable[[torch.Tensor], torch.Tensor]) -> None:
    made = make(ROWS.to(CARD))
    assert made.device == torch.device("mps:0")
    with pytest.raises(CardError):
        _ = made == torch.zeros(made.shape)
    assert made.cpu().device == made.to("cpu").device == torch.zeros_like(made, device=CPU).device == CPU
    assert made.cpu().numpy().shape == made.shape


def test_numbers_are_those_of_the_cpu_and_what_is_moved_is_a_copy() -> None:
    card = ROWS.to(CARD)
    assert card.tolist() == ROWS.tolist() and float(card[1, 2]) == 5.0
    card[INDEX] = 0.0
    assert float(card.sum()) == 12.0 + 30.0 and float(ROWS.sum()) == 66.0


def test_a_component_is_on_the_card_only_while_it_computes() -> None:
    layer = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).eval()
    holder, truth = CardHolder(layer, torch.float32), layer(ROWS)
    with holder.use() as network:
        torch.testing.assert_close(network(ROWS.to(CARD)).cpu(), truth)
        with pytest.raises(CardError):
            network(ROWS)
    assert torch.equal(layer(ROWS), truth)
    with pytest.raises(CardError):
        layer(ROWS.to(CARD))
