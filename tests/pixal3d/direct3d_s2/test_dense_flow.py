"""The flow of structures against itself written down token by token."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.pixal3d.direct3d_s2.config import DenseFlowConfig
from bundle3d.pipelines.pixal3d.flow_transformer import Condition
from bundle3d.tests.pixal3d.direct3d_s2.make_small import DENSE, random_condition, random_features, small_dense_flow
from bundle3d.tests.pixal3d.direct3d_s2.naive_flows import NaiveDenseFlow
from bundle3d.tests.pixal3d.make_small import relative_error

FEATURES = random_features(64, DENSE.channels)
CONDITION = random_condition(64)


@pytest.mark.parametrize("config", [DENSE, replace(DENSE, norms=False, cross_norms=True)], ids=["norms", "no norms"])
def test_it_is_what_the_formulas_say(config: DenseFlowConfig) -> None:
    flow = small_dense_flow(config)
    truth = NaiveDenseFlow(flow.state_dict(), config)(FEATURES, 0.7, CONDITION.tokens[0], CONDITION.projected)
    assert relative_error(flow(FEATURES, 0.7, CONDITION), truth) < 1e-4
    double = Condition(CONDITION.tokens.double(), CONDITION.projected.double())
    assert relative_error(flow.double()(FEATURES.double(), 0.7, double, torch.float64), truth) < 1e-6


def test_bfloat16_is_close() -> None:
    flow = small_dense_flow()
    truth = flow(FEATURES, 0.7, CONDITION)
    flow.blocks.to(torch.bfloat16)
    found = flow(FEATURES, 0.7, CONDITION, torch.bfloat16)
    assert found.dtype == torch.float32
    assert 0 < float((found - truth).norm() / truth.norm()) < 0.05


@pytest.mark.parametrize("wrong", ["features", "tokens", "projected"])
def test_what_does_not_fit_is_refused(wrong: str) -> None:
    features, condition = FEATURES, CONDITION
    if wrong == "features":
        features = features[1:]
    elif wrong == "tokens":
        condition = Condition(condition.tokens.expand(2, -1, -1), condition.projected)
    else:
        condition = Condition(condition.tokens, condition.projected[:, 1:])
    with pytest.raises(Bundle3DError, match="Expected latents") as refusal:
        small_dense_flow()(features, 0.7, condition)
    assert "\n" not in str(refusal.value)
