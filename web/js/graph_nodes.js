// Nodes of the graph and of its subgraphs by the ids that the server knows them by.

import { app } from "/scripts/app.js";

// The node of an execution id (1:4:7, from the root through subgraph nodes) or a locator id (subgraph's UUID:7).
export function findNode(id) {
  const path = String(id).split(":");
  let graph = app.rootGraph ?? app.graph;
  const named = graph.subgraphs?.get(path[0]);
  if (named) [graph] = [named, path.shift()];
  const last = path.pop();
  for (const step of path) graph = graph?.getNodeById(step)?.subgraph;
  return graph?.getNodeById(last);
}

// The execution id of a node.
export function executionId(node, graph = app.rootGraph ?? app.graph) {
  for (const other of graph.nodes) {
    if (other === node) return String(node.id);
    const inner = other.subgraph && executionId(node, other.subgraph);
    if (inner) return `${other.id}:${inner}`;
  }
  return null;
}
