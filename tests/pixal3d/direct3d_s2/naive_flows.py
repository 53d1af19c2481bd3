"""The flows of Pixal3D-D written down once more, token by token and head by head, in float64.

Source: specs/pixal3d.md section 1.4.
"""

from __future__ import annotations

import math

import torch
from bundle3d.pipelines.pixal3d.direct3d_s2.config import DenseFlowConfig, SparseFlowConfig
from bundle3d.tests.pixal3d.naive_flow import attention, gelu_tanh, layer_norm, normed_head

State = dict[str, torch.Tensor]
Place = tuple[int, ...]


def silu(x: torch.Tensor) -> torch.Tensor:
    return x / (1 + torch.exp(-x))


class NaiveFlow:
    """``state`` in float64, and what both kinds of flow do with it."""

    def __init__(self, state: State, heads: int) -> None:
        self.state = {name: tensor.double() for name, tensor in state.items()}
        self.heads = heads

    def linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        bias = self.state.get(f"{name}.bias", torch.zeros(1, dtype=torch.float64))
        return x @ self.state[f"{name}.weight"].T + bias

    def split(self, name: str, x: torch.Tensor) -> torch.Tensor:
        """(N, heads, d), each head at its own length where the model has one."""
        rows = x.reshape(len(x), self.heads, -1)
        gamma = self.state.get(f"{name}.gamma")
        if gamma is None:
            return rows
        return torch.stack([torch.stack([normed_head(row[h], gamma[h]) for h in range(self.heads)]) for row in rows])

    def joined(self, name: str, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        values = values.reshape(len(values), self.heads, -1)
        each = [attention(queries[:, h], keys[:, h], values[:, h]) for h in range(self.heads)]
        return self.linear(name, torch.cat(each, dim=1))

    def embedded_places(self, places: list[list[float]], width: int) -> torch.Tensor:
        each = width // 6
        rows = []
        for place in places:
            row: list[float] = []
            for axis in place:
                angles = [axis / 10000.0 ** (i / each) for i in range(each)]
                row += [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
            rows.append(row + [0.0] * (width - len(row)))
        return torch.tensor(rows, dtype=torch.float64)

    def self_attention(self, block: str, number: int, tokens: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def flow(
        self,
        features: torch.Tensor,
        places: list[list[float]],
        time: float,
        tokens: torch.Tensor,
        projected: torch.Tensor,
    ) -> torch.Tensor:
        x = self.linear("input_layer", features.double())
        width = x.shape[1]
        x = x + self.embedded_places(places, width)
        angles = [1000 * time * 10000.0 ** (-i / 128) for i in range(128)]
        embedded = torch.tensor([math.cos(a) for a in angles] + [math.sin(a) for a in angles], dtype=torch.float64)
        embedded = self.linear("t_embedder.mlp.2", silu(self.linear("t_embedder.mlp.0", embedded)))
        for number in range(len({name.split(".")[1] for name in self.state if name.startswith("blocks.")})):
            block = f"blocks.{number}"
            modulation = self.linear(f"{block}.adaLN_modulation.1", silu(embedded))
            shift1, scale1, gate1, shift2, scale2, gate2 = modulation.reshape(6, width)
            x = x + gate1 * self.self_attention(block, number, layer_norm(x, 1e-6) * (1 + scale1) + shift1)
            h = layer_norm(x, 1e-6, self.state[f"{block}.norm2.weight"], self.state[f"{block}.norm2.bias"])
            cross = f"{block}.cross_attn.cross_attn_block"
            keys, values = self.linear(f"{cross}.to_kv", tokens.double()).chunk(2, dim=1)
            queries = self.split(f"{cross}.q_rms_norm", self.linear(f"{cross}.to_q", h))
            seen = self.joined(f"{cross}.to_out", queries, self.split(f"{cross}.k_rms_norm", keys), values)
            x = x + (h + projected + seen)
            h = layer_norm(x, 1e-6) * (1 + scale2) + shift2
            x = x + gate2 * self.linear(f"{block}.mlp.mlp.2", gelu_tanh(self.linear(f"{block}.mlp.mlp.0", h)))
        return self.linear("out_layer", layer_norm(x, 1e-5))


class NaiveDenseFlow(NaiveFlow):
    def __init__(self, state: State, config: DenseFlowConfig) -> None:
        super().__init__(state, config.heads)
        side = range(config.resolution)
        self.places: list[list[float]] = [[x, y, z] for x in side for y in side for z in side]

    def __call__(
        self, features: torch.Tensor, time: float, tokens: torch.Tensor, projected: torch.Tensor
    ) -> torch.Tensor:
        return self.flow(features, self.places, time, tokens, projected.double())

    def self_attention(self, block: str, number: int, tokens: torch.Tensor) -> torch.Tensor:
        own = f"{block}.self_attn"
        queries, keys, values = self.linear(f"{own}.to_qkv", tokens).chunk(3, dim=1)
        queries, keys = self.split(f"{own}.q_rms_norm", queries), self.split(f"{own}.k_rms_norm", keys)
        return self.joined(f"{own}.to_out", queries, keys, values)


class NaiveSparseFlow(NaiveFlow):
    def __init__(self, state: State, config: SparseFlowConfig, places: torch.Tensor) -> None:
        super().__init__(state, config.heads)
        self.config = config
        self.places: list[Place] = [tuple(place) for place in places.tolist()]
        self.merged = sorted({self.cube(place, config.compression) for place in self.places})

    @staticmethod
    def cube(place: Place, side: int) -> Place:
        return tuple(axis // side for axis in place)

    def __call__(
        self, features: torch.Tensor, time: float, tokens: torch.Tensor, projected: torch.Tensor
    ) -> torch.Tensor:
        projected = projected.double()
        if "cond_proj.weight" in self.state:
            width = projected.shape[1]
            unscaled = [list(map(float, place)) for place in self.places]
            projected = self.linear("cond_proj", projected) + self.embedded_places(unscaled, width)
        scaled = [[axis * self.config.position_scale for axis in place] for place in self.places]
        return self.flow(features, scaled, time, tokens, projected)

    def means(self, x: torch.Tensor) -> torch.Tensor:
        """Over each cube of keys, whose mean counts a zero too."""
        side = self.config.compression
        rows = [[row for row, place in enumerate(self.places) if self.cube(place, side) == own] for own in self.merged]
        return torch.stack([x[own].sum(0) / (len(own) + 1) for own in rows])

    def group_norm(self, name: str, x: torch.Tensor) -> torch.Tensor:
        parts = []
        for part in x.chunk(32, dim=1):
            parts.append((part - part.mean()) / (part.var(correction=0) + 1e-5).sqrt())
        return torch.cat(parts, dim=1) * self.state[f"{name}.weight"] + self.state[f"{name}.bias"]

    def convolved(self, name: str, x: torch.Tensor) -> torch.Tensor:
        kernel, bias = self.state[f"{name}.conv.kernel"], self.state[f"{name}.conv.bias"]
        row_of = {place: row for row, place in enumerate(self.merged)}
        rows = []
        for px, py, pz in self.merged:
            total = bias.clone()
            for number in range(27):
                dx, dy, dz = number % 3 - 1, number // 3 % 3 - 1, number // 9 - 1
                if (near := row_of.get((px + dx, py + dy, pz + dz))) is not None:
                    total = total + x[near] @ kernel[number]
            rows.append(total)
        return torch.stack(rows)

    def compressed(self, name: str, x: torch.Tensor) -> torch.Tensor:
        if f"{name}.out_layers.0.conv.kernel" not in self.state:
            kernel, bias = (self.state[f"{name}.act_layers.0.conv.{part}"] for part in ("kernel", "bias"))
            return self.means(silu(x @ kernel + bias))
        hidden = self.means(silu(self.group_norm(f"{name}.act_layers.0", x)))
        hidden = self.convolved(f"{name}.out_layers.0", hidden)
        hidden = self.convolved(f"{name}.out_layers.3", silu(self.group_norm(f"{name}.out_layers.1", hidden)))
        return hidden + self.means(x)

    def self_attention(self, block: str, number: int, tokens: torch.Tensor) -> torch.Tensor:
        config, own = self.config, f"{block}.self_attn"
        queries, keys, values = (self.linear(f"{own}.proj_{part}", tokens) for part in "qkv")
        where = self.state[f"{own}.intra_block_pe"]
        side = config.compression
        placed = torch.stack([key + where[tuple(a % side for a in place)] for key, place in zip(keys, self.places)])
        merged_keys = self.compressed(f"{own}.compression_key", placed)
        merged_values = self.compressed(f"{own}.compression_value", values)
        gates = 1 / (1 + torch.exp(-self.linear(f"{own}.gate.0", tokens)))
        head = tokens.shape[1] // config.heads
        shift = config.window // 2 if not config.shifted else config.window // 2 * (number % 2)
        coarse = config.selection // config.compression
        parent = [self.cube(place, coarse) for place in self.merged]
        out = torch.zeros_like(queries)
        for row, place in enumerate(self.places):
            window = self.cube(tuple(a + shift for a in place), config.window)
            near = [
                other
                for other, there in enumerate(self.places)
                if self.cube(tuple(a + shift for a in there), config.window) == window
            ]
            for group in range(config.key_heads):
                shared = config.heads // config.key_heads
                mine = slice(group * head, (group + 1) * head)
                scores = dict.fromkeys(parent, 0.0)
                for h in range(group * shared, (group + 1) * shared):
                    query = queries[row, h * head : (h + 1) * head]
                    weights = torch.exp(merged_keys[:, mine] @ query / math.sqrt(head))
                    for cube, weight in zip(parent, weights / weights.sum()):
                        scores[cube] += float(weight)
                best = sorted(scores, key=lambda cube: -scores[cube])[: config.most_selected]
                chosen = [
                    other for other, there in enumerate(self.places) if self.cube(there, config.selection) in best
                ]
                for h in range(group * shared, (group + 1) * shared):
                    part = slice(h * head, (h + 1) * head)
                    query = queries[row : row + 1, part]
                    seen = (
                        attention(query, merged_keys[:, mine], merged_values[:, mine]),
                        attention(query, keys[chosen][:, mine], values[chosen][:, mine]),
                        attention(query, keys[near][:, mine], values[near][:, mine]),
                    )
                    out[row, part] = sum(gate * one[0] for gate, one in zip(gates[row], seen))
        return self.linear(f"{own}.proj_o", out)
