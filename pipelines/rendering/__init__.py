"""Differentiable rasterisation and shading."""
