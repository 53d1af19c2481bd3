"""The flows of signed distances against themselves written down token by token, and what must not change them."""

from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.pixal3d.direct3d_s2.config import SparseFlowConfig
from bundle3d.pipelines.pixal3d.direct3d_s2.sparse_layout import sparse_layout
from bundle3d.pipelines.pixal3d.flow_transformer import Condition
from bundle3d.tests.pixal3d.direct3d_s2.make_small import (
    SPARSE,
    SPARSE_V1,
    random_condition,
    random_features,
    random_places,
    small_sparse_flow,
)
from bundle3d.tests.pixal3d.direct3d_s2.naive_flows import NaiveSparseFlow
from bundle3d.tests.pixal3d.make_small import relative_error

PLACES = random_places(90, 9)  # so that cubes hold several
FEATURES = random_features(90, SPARSE.channels)
CONDITION = random_condition(90)


@pytest.mark.parametrize("config", [SPARSE, SPARSE_V1], ids=["convolves", "v1"])
def test_it_is_what_the_formulas_say(config: SparseFlowConfig) -> None:
    flow = small_sparse_flow(config)
    naive = NaiveSparseFlow(flow.state_dict(), config, PLACES)
    truth = naive(FEATURES, 0.7, CONDITION.tokens[0], CONDITION.projected)
    layout = sparse_layout(PLACES, config)
    double = Condition(CONDITION.tokens.double(), CONDITION.projected.double())
    assert relative_error(flow(FEATURES, layout, 0.7, CONDITION), truth) < 1e-4
    assert relative_error(flow.double()(FEATURES.double(), layout, 0.7, double, torch.float64), truth) < 1e-6


def test_the_order_of_voxels_does_not_matter() -> None:
    flow = small_sparse_flow()
    order = torch.randperm(len(PLACES), generator=torch.Generator().manual_seed(5))
    shuffled = Condition(CONDITION.tokens, CONDITION.projected[order])
    found = flow(FEATURES[order], sparse_layout(PLACES[order], SPARSE), 0.7, shuffled)
    truth = flow(FEATURES, sparse_layout(PLACES, SPARSE), 0.7, CONDITION)
    torch.testing.assert_close(found, truth[order], atol=2e-5, rtol=1e-5)


def test_a_picture_of_zeros_still_tells_places() -> None:
    flow = small_sparse_flow()
    zeros = Condition(torch.zeros_like(CONDITION.tokens), torch.zeros_like(CONDITION.projected))
    truth = NaiveSparseFlow(flow.state_dict(), SPARSE, PLACES)(FEATURES, 0.3, zeros.tokens[0], zeros.projected)
    assert relative_error(flow(FEATURES, sparse_layout(PLACES, SPARSE), 0.3, zeros), truth) < 1e-4


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(Bundle3DError, match=r"Expected latents \(89, 6\)") as refusal:
        small_sparse_flow()(FEATURES, sparse_layout(PLACES[1:], SPARSE), 0.7, CONDITION)
    assert "\n" not in str(refusal.value)
