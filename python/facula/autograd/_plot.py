"""plot: the recorded graph as text in a terminal and as a picture in a notebook."""

from __future__ import annotations

from html import escape

from .._C import Tensor

_NODES_MAX = 400


class _Names:
    """Names of leaves, from the parameters of a module."""

    def __init__(self, module):
        self.leaves = {}
        if module is not None:
            self.leaves = {id(p): name for name, p in module.named_parameters()}

    def leaf(self, variable) -> str:
        shape = "x".join(map(str, variable.shape)) or "scalar"
        return f"{self.leaves.get(id(variable), 'leaf')} [{shape}]"

    def module_of(self, node) -> str:
        """The module whose parameters a call reads, where they are all of one."""
        owners = set()
        for below, _ in node.next_functions:
            name = self.leaves.get(id(getattr(below, "variable", None)))
            if name is not None:
                owners.add(name.rpartition(".")[0])
        return owners.pop() if len(owners) == 1 else ""

    def label(self, node) -> str:
        if node.name() == "AccumulateGrad":
            return self.leaf(node.variable)
        module = self.module_of(node)
        return node.name() + (f"  ({module})" if module else "")


class GraphPlot:
    """The graph behind some tensors. `str()` gives a tree, a notebook shows a picture."""

    def __init__(self, roots, module=None):
        self._names = _Names(module)
        self.nodes = []  # in order of discovery
        self.edges = []  # (from, to): indices of nodes
        self.complete = True
        self._index = {}
        self._collect([r.grad_fn for r in roots if r.grad_fn is not None])

    def _collect(self, waiting):
        self.roots = [self._add(node) for node in waiting]
        for at, node in enumerate(self.nodes):  # grows meanwhile
            for below, _ in node.next_functions:
                if below is None:
                    continue
                if below not in self._index and len(self.nodes) >= _NODES_MAX:
                    self.complete = False
                    continue
                self.edges.append((at, self._add(below)))

    def _add(self, node):
        if node not in self._index:
            self._index[node] = len(self.nodes)
            self.nodes.append(node)
        return self._index[node]

    def _below(self):
        below = [[] for _ in self.nodes]
        for a, b in self.edges:
            below[a].append(b)
        return below

    # A node with one successor goes on below itself without indentation, so that chains stay
    # straight; a node that was shown before is only named.
    def __str__(self):
        if not self.nodes:
            return "(no graph: no recorded call made this tensor)"
        below, seen, lines = self._below(), {}, []
        stack = [(root, "", "") for root in reversed(self.roots)]
        while stack:
            at, lead, indent = stack.pop()
            label = self._names.label(self.nodes[at])
            if at in seen:
                lines.append(f"{lead}{label}  (#{seen[at]}, above)")
                continue
            seen[at] = len(seen) + 1
            lines.append(f"{lead}{label}  #{seen[at]}")
            if len(below[at]) == 1:
                stack.append((below[at][0], indent, indent))
                continue
            for i, child in reversed(list(enumerate(below[at]))):
                last = i == len(below[at]) - 1
                branch, rest = ("└─ ", "   ") if last else ("├─ ", "│  ")
                stack.append((child, indent + branch, indent + rest))
        if not self.complete:
            lines.append(f"... (the first {_NODES_MAX} nodes)")
        return "\n".join(lines)

    __repr__ = __str__

    # --- the picture ------------------------------------------------------------------------------

    def _layers(self):
        """Nodes by their longest distance from a root."""
        below, waits = self._below(), [0] * len(self.nodes)
        for _, b in self.edges:
            waits[b] += 1
        depth = [0] * len(self.nodes)
        ready = [i for i, n in enumerate(waits) if n == 0]
        for at in ready:  # grows meanwhile
            for b in below[at]:
                depth[b] = max(depth[b], depth[at] + 1)
                waits[b] -= 1
                if waits[b] == 0:
                    ready.append(b)
        layers = [[] for _ in range(max(depth, default=-1) + 1)]
        for i, d in enumerate(depth):
            layers[d].append(i)
        return layers

    def _repr_svg_(self):
        labels = [self._names.label(node) for node in self.nodes]
        widths = [7 * len(text) + 20 for text in labels]
        layers = self._layers()
        total = max((sum(widths[i] + 20 for i in layer) for layer in layers), default=0) + 20
        place, parts = {}, []
        for row, layer in enumerate(layers):
            x = (total - sum(widths[i] + 20 for i in layer)) / 2 + 10
            for i in layer:
                place[i] = (x, 20 + 56 * row)
                x += widths[i] + 20
        for a, b in self.edges:
            (xa, ya), (xb, yb) = place[a], place[b]
            ends = f'x1="{xa + widths[a] / 2:.0f}" y1="{ya + 28}" x2="{xb + widths[b] / 2:.0f}"'
            parts.append(f'<line {ends} y2="{yb}" stroke="#888"/>')
        for i, (x, y) in place.items():
            leaf = self.nodes[i].name() == "AccumulateGrad"
            parts.append(
                f'<rect x="{x:.0f}" y="{y}" width="{widths[i]}" height="28" rx="5" '
                f'fill="{"#cfe8cf" if leaf else "#e8e8f4"}" stroke="#666"/>'
                f'<text x="{x + widths[i] / 2:.0f}" y="{y + 19}" text-anchor="middle" '
                f'font-family="monospace" font-size="12">{escape(labels[i])}</text>'
            )
        size = f'width="{total:.0f}" height="{56 * len(layers) + 20}"'
        return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{"".join(parts)}</svg>'


def plot(tensors, module=None) -> GraphPlot:
    """The graph that made `tensors`: text when printed, a picture in a notebook.

    The parameters of `module` are shown by their names, and calls that read them by the name of
    the module that they belong to.
    """
    roots = (tensors,) if isinstance(tensors, Tensor) else tuple(tensors)
    return GraphPlot(roots, module)
