"""Turns a graph as ComfyUI saves it (UI format) into the form that a server runs (API format).

The browser does this in ``graphToPrompt``. The one Python port that is kept up belongs to comfy-cli, which is GPL-3.0
and brings telemetry clients, a package manager and git bindings along: too much for a node pack. The browser tests
hold this converter equal to the real frontend.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .client import ApiGraph
from .graph import NodeInfo, choices, input_options

MUTED, BYPASSED = 2, 4
SUBGRAPH_INPUTS, SUBGRAPH_OUTPUTS = -10, -20  # the pseudo nodes at the two edges of a subgraph
FRONTEND_ONLY = {"Note", "MarkdownNote", "Reroute", "PrimitiveNode"}
WIDGET_TYPES = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", "COLOR", "COLORS", "CURVE", "COMFY_DYNAMICCOMBO_V3"}
CONTROL_WORDS = {"fixed", "increment", "decrement", "randomize", "increment-wrap"}
UPLOADS = ("image_upload", "animated_image_upload", "video_upload", "audio_upload")


@dataclass(frozen=True)
class Link:
    """Where an input comes from: a slot of a node of the API graph."""

    node: str
    slot: int


@dataclass(frozen=True)
class Value:
    """Where an input comes from: a value that a widget holds elsewhere."""

    value: Any


Source = Link | Value | None


class Scope:
    """One level of nodes: the graph itself, or the inside of one subgraph instance."""

    def __init__(
        self, body: dict[str, Any], prefix: str = "", parent: Scope | None = None, instance: Any = None
    ) -> None:
        self.prefix, self.parent, self.instance = prefix, parent, instance
        self.definition = body
        self.nodes = {node["id"]: node for node in body["nodes"]}
        self.links = dict(read_link(link) for link in body.get("links") or [])

    def key(self, node: dict[str, Any]) -> str:
        """The node's id in the API graph."""
        return f"{self.prefix}{node['id']}"


def read_link(link: Any) -> tuple[int, tuple[int, int]]:
    """(link id, (origin node id, origin slot)) of either spelling of a link."""
    if isinstance(link, dict):
        return link["id"], (link["origin_id"], link["origin_slot"])
    return link[0], (link[1], link[2])


class Converter:
    """Converts one UI graph; ``info`` is the server's /object_info."""

    def __init__(self, graph: dict[str, Any], info: dict[str, NodeInfo]) -> None:
        self.info = info
        self.subgraphs = {body["id"]: body for body in (graph.get("definitions") or {}).get("subgraphs") or []}
        self.root = Scope(graph)
        self.inner: dict[str, Scope] = {}

    def convert(self) -> ApiGraph:
        """The API graph, without muted, bypassed and frontend-only nodes and with subgraphs expanded."""
        found: ApiGraph = {}
        for scope, node in self.real_nodes(self.root):
            kind = node["type"]
            info = self.info.get(kind, {})
            inputs = dict(widget_values(node, info))
            for index, entry in enumerate(node.get("inputs") or []):
                source = self.input_source(scope, node, index)
                if isinstance(source, Link):
                    inputs[entry["name"]] = [source.node, source.slot]
                elif isinstance(source, Value):
                    inputs[entry["name"]] = source.value
            title = node.get("title") or info.get("display_name") or kind
            found[scope.key(node)] = {"class_type": kind, "inputs": inputs, "_meta": {"title": title}}
        return found

    def real_nodes(self, scope: Scope) -> Iterator[tuple[Scope, dict[str, Any]]]:
        """The nodes that a server runs, subgraphs expanded."""
        for node in scope.nodes.values():
            if node.get("mode") in (MUTED, BYPASSED) or node["type"] in FRONTEND_ONLY:
                continue
            if node["type"] in self.subgraphs:
                yield from self.real_nodes(self.inside(scope, node))
            else:
                yield scope, node

    def inside(self, scope: Scope, instance: dict[str, Any]) -> Scope:
        """The inner scope of a subgraph instance."""
        key = scope.key(instance)
        if key not in self.inner:
            self.inner[key] = Scope(self.subgraphs[instance["type"]], f"{key}:", scope, instance)
        return self.inner[key]

    def input_source(self, scope: Scope, node: dict[str, Any], index: int) -> Source:
        """Where the node's input comes from; None where it is not connected, directly or in the end."""
        link = scope.links.get((node.get("inputs") or [])[index].get("link"))
        if link is None:
            return None
        origin, slot = link
        if origin == SUBGRAPH_INPUTS:
            return self.edge_source(scope, slot)
        return self.output_source(scope, scope.nodes[origin], slot) if origin in scope.nodes else None

    def edge_source(self, scope: Scope, slot: int) -> Source:
        """Where an input of a subgraph comes from, seen from inside: outside's link, or the instance's own widget."""
        if scope.parent is None:
            return None
        name = scope.definition["inputs"][slot]["name"]
        for index, entry in enumerate(scope.instance.get("inputs") or []):
            if entry["name"] == name:
                source = self.input_source(scope.parent, scope.instance, index)
                if source is not None:
                    return source
        return self.promoted_value(scope, slot)

    def promoted_value(self, scope: Scope, slot: int) -> Source:
        """The value of the widget that a subgraph instance shows for an unconnected input.

        Newer files keep it in the instance, one value per input that ends in a widget; older ones in the widget's node.
        """
        ends = [self.widget_behind(scope, index) for index in range(len(scope.definition["inputs"]))]
        end = ends[slot]
        if end is None:
            return None
        shown = [index for index, other in enumerate(ends) if other is not None]
        values = scope.instance.get("widgets_values")
        if isinstance(values, list) and len(values) == len(shown):
            return Value(values[shown.index(slot)])
        node, name = end
        if node["type"] in self.subgraphs:
            inner = self.inside(scope, node)
            names = [entry["name"] for entry in inner.definition["inputs"]]
            return self.promoted_value(inner, names.index(name)) if name in names else None
        own = widget_values(node, self.info.get(node["type"], {}))
        return Value(own[name]) if name in own else None

    @staticmethod
    def widget_behind(scope: Scope, slot: int) -> tuple[dict[str, Any], str] | None:
        """The first (node, input name) inside a subgraph that its input feeds and that is a widget."""
        links = set(scope.definition["inputs"][slot].get("linkIds") or [])
        for node in scope.nodes.values():
            for entry in node.get("inputs") or []:
                if entry.get("link") in links and "widget" in entry:
                    return node, entry["name"]
        return None

    def output_source(self, scope: Scope, node: dict[str, Any], slot: int) -> Source:
        """What really feeds an output: the node, or what a bypassed, frontend-only or subgraph node passes on."""
        if node.get("mode") == MUTED:
            return None
        if node.get("mode") == BYPASSED:
            index = bypass_input(node, slot)
            return None if index is None else self.input_source(scope, node, index)
        if node["type"] == "Reroute":
            return self.input_source(scope, node, 0)
        if node["type"] == "PrimitiveNode":
            return Value(node["widgets_values"][0]) if node.get("widgets_values") else None
        if node["type"] in self.subgraphs:
            inner = self.inside(scope, node)
            for link_id in inner.definition["outputs"][slot].get("linkIds") or []:
                origin, origin_slot = inner.links[link_id]
                if origin == SUBGRAPH_INPUTS:
                    return self.edge_source(inner, origin_slot)
                return self.output_source(inner, inner.nodes[origin], origin_slot)
            return None
        return Link(scope.key(node), slot)


def bypass_input(node: dict[str, Any], slot: int) -> int | None:
    """Which input a bypassed node passes on to this output: the one beside it, else the first of the same type."""
    inputs, wanted = node.get("inputs") or [], node["outputs"][slot]["type"]
    if slot < len(inputs) and compatible(inputs[slot]["type"], wanted):
        return slot
    same = [i for i, entry in enumerate(inputs) if entry["type"] == wanted]
    fitting = [i for i, entry in enumerate(inputs) if compatible(entry["type"], wanted)]
    return next(iter(same or fitting), None)


def compatible(a: Any, b: Any) -> bool:
    """Whether two socket types, each possibly a list with commas, have one in common."""
    left, right = set(str(a).split(",")), set(str(b).split(","))
    return bool(left & right) or "*" in left | right


def widget_values(node: dict[str, Any], info: NodeInfo) -> dict[str, Any]:
    """The values of a saved node's widgets by input name; lists are marked as values, missing ones get the default."""
    saved = node.get("widgets_values") or []
    if isinstance(saved, dict):
        named = dict(saved)
    else:
        shown = [entry["widget"]["name"] for entry in node.get("inputs") or [] if "widget" in entry]
        named, used = name_values(shown, saved, info)
        if used != len(saved):
            named = values_in_schema_order(saved, shown, info)
    known = input_options(info, named)
    if not known:
        return named
    values = {}
    for name, (kind, options) in known.items():
        if name in named:
            values[name] = named[name]
        elif "default" in options and is_widget(kind, options):
            values[name] = options["default"]
        elif is_widget(kind, options) and choices(kind, options):
            values[name] = (choices(kind, options) or [None])[0]
    return {name: {"__value__": value} if isinstance(value, list) else value for name, value in values.items()}


def name_values(names: list[str], saved: list[Any], info: NodeInfo) -> tuple[dict[str, Any], int]:
    """Deals saved values out to widget names in order; also how many were used, counting "control after generate"."""
    named: dict[str, Any] = {}
    used = 0
    for name in names:
        if used >= len(saved):
            break
        named[name] = saved[used]
        used += 1
        kind, options = input_options(info, named).get(name, ("", {}))
        if used < len(saved) and has_control(name, kind, options) and saved[used] in CONTROL_WORDS:
            used += 1
    return named, used


def values_in_schema_order(saved: list[Any], shown: list[str], info: NodeInfo) -> dict[str, Any]:
    """Deals saved values out in the order of the node's definition, for files that do not hold the widgets' names."""
    names: list[str] = []
    while True:
        named, _ = name_values(names, saved, info)
        wanted = []
        for name, (kind, options) in input_options(info, named).items():
            if is_widget(kind, options) or name in shown:
                wanted.append(name)
        wanted = with_upload_button(wanted, info)
        if wanted == names:
            return named
        names = wanted


def with_upload_button(names: list[str], info: NodeInfo) -> list[str]:
    """The names with the upload button's, which the frontend puts behind the required inputs of a file choice."""
    required = (info.get("input") or {}).get("required") or {}
    has_button = any(len(spec) > 1 and any(spec[1].get(key) for key in UPLOADS) for spec in required.values())
    if not has_button:
        return names
    optional = (info.get("input") or {}).get("optional") or {}
    place = next((i for i, name in enumerate(names) if name.split(".")[0] in optional), len(names))
    return [*names[:place], "upload", *names[place:]]


def is_widget(kind: Any, options: dict[str, Any]) -> bool:
    """Whether the frontend shows an input of this type as a widget rather than as a socket alone."""
    if options.get("forceInput"):
        return False
    first = str(kind).split(",")[0]
    return isinstance(kind, list) or first in WIDGET_TYPES or "widgetType" in options


def has_control(name: str, kind: Any, options: dict[str, Any]) -> bool:
    """Whether the frontend puts a "control after generate" widget behind this one."""
    if "control_after_generate" in options:
        return bool(options["control_after_generate"])
    return kind == "INT" and name in {"seed", "noise_seed"}


def to_api(graph: dict[str, Any], info: dict[str, NodeInfo]) -> ApiGraph:
    """The API form of a UI graph. info: the answer of the server's /object_info."""
    return Converter(graph, info).convert()
