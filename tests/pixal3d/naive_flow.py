"""The flow transformer written down once more, token by token and head by head, in float64.

Source: specs/pixal3d.md sections 2.7 and 3.1.
"""

from __future__ import annotations

import cmath
import math

import torch

State = dict[str, torch.Tensor]


def layer_norm(x: torch.Tensor, eps: float, weight: torch.Tensor | None = None, bias: torch.Tensor | None = None):
    centred = x - x.mean(-1, keepdim=True)
    normed = centred / (centred.square().mean(-1, keepdim=True) + eps).sqrt()
    return normed if weight is None else normed * weight + bias


def gelu_tanh(x: torch.Tensor) -> torch.Tensor:
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def turned(vector: torch.Tensor, position: list[int]) -> torch.Tensor:
    """A head's channels as complex numbers, turned by the position."""
    pairs = len(vector) // 2
    each = pairs // 3
    angles = [place * 10000.0 ** (-i / each) for place in position for i in range(each)]
    angles += [0.0] * (pairs - 3 * each)
    numbers = [
        complex(float(vector[2 * i]), float(vector[2 * i + 1])) * cmath.exp(1j * angles[i]) for i in range(pairs)
    ]
    return torch.tensor([part for number in numbers for part in (number.real, number.imag)], dtype=torch.float64)


def attention(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Of one head: (n, d) of queries (n, d) to (m, d)."""
    scores = queries @ keys.T / math.sqrt(queries.shape[1])
    weights = scores.exp() / scores.exp().sum(-1, keepdim=True)
    return weights @ values


def normed_head(vector: torch.Tensor, gamma: torch.Tensor) -> torch.Tensor:
    return vector / vector.norm() * gamma * math.sqrt(len(vector))


def naive_flow(
    state: State,
    heads: int,
    features: torch.Tensor,
    positions: torch.Tensor,
    time: float,
    tokens: torch.Tensor,
    projected: torch.Tensor,
) -> torch.Tensor:
    """The flow (N, out) of one object: ``features`` (N, in) at ``positions`` (N, 3), ``tokens`` (K, C), ``projected``
    (N, P).
    """
    state = {name: tensor.double() for name, tensor in state.items()}

    def linear(name: str, x: torch.Tensor) -> torch.Tensor:
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def split_heads(name: str, x: torch.Tensor) -> torch.Tensor:
        """(N, heads, d), each head at its length."""
        gamma = state[f"{name}.gamma"]
        rows = x.reshape(len(x), heads, -1)
        return torch.stack([torch.stack([normed_head(row[h], gamma[h]) for h in range(heads)]) for row in rows])

    def joined(name: str, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        values = values.reshape(len(values), heads, -1)
        each = [attention(queries[:, h], keys[:, h], values[:, h]) for h in range(heads)]
        return linear(name, torch.cat(each, dim=1))

    features, tokens, projected = features.double(), tokens.double(), projected.double()
    places = positions.tolist()
    x = linear("input_layer", features)
    angles = [1000 * time * 10000.0 ** (-i / 128) for i in range(128)]
    embedded = torch.tensor([math.cos(a) for a in angles] + [math.sin(a) for a in angles], dtype=torch.float64)
    embedded = linear("t_embedder.mlp.0", embedded)
    embedded = linear("t_embedder.mlp.2", embedded / (1 + torch.exp(-embedded)))
    shared = linear("adaLN_modulation.1", embedded / (1 + torch.exp(-embedded)))
    width = x.shape[1]
    blocks = {name.split(".")[1] for name in state if name.startswith("blocks.")}
    for number in range(len(blocks)):
        block = f"blocks.{number}"
        shift1, scale1, gate1, shift2, scale2, gate2 = (shared + state[f"{block}.modulation"]).reshape(6, width)
        h = layer_norm(x, 1e-6) * (1 + scale1) + shift1
        q, k, v = linear(f"{block}.self_attn.to_qkv", h).chunk(3, dim=1)
        q, k = split_heads(f"{block}.self_attn.q_rms_norm", q), split_heads(f"{block}.self_attn.k_rms_norm", k)
        q = torch.stack([torch.stack([turned(head, place) for head in row]) for row, place in zip(q, places)])
        k = torch.stack([torch.stack([turned(head, place) for head in row]) for row, place in zip(k, places)])
        x = x + gate1 * joined(f"{block}.self_attn.to_out", q, k, v)
        h = layer_norm(x, 1e-6, state[f"{block}.norm2.weight"], state[f"{block}.norm2.bias"])
        cross = f"{block}.cross_attn.cross_attn_block"
        k, v = linear(f"{cross}.to_kv", tokens).chunk(2, dim=1)
        q = split_heads(f"{cross}.q_rms_norm", linear(f"{cross}.to_q", h))
        k = split_heads(f"{cross}.k_rms_norm", k)
        x = x + joined(f"{cross}.to_out", q, k, v) + linear(f"{block}.cross_attn.proj_linear", projected)
        h = layer_norm(x, 1e-6) * (1 + scale2) + shift2
        x = x + gate2 * linear(f"{block}.mlp.mlp.2", gelu_tanh(linear(f"{block}.mlp.mlp.0", h)))
    return linear("out_layer", layer_norm(x, 1e-5))
