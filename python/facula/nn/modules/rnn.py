"""Recurrent layers."""

from __future__ import annotations

import math
import warnings
from itertools import groupby

from ... import (
    _C,
    cat,
    dropout,
    empty,
    gru_cell,
    lstm_cell,
    rnn_relu_cell,
    rnn_tanh_cell,
    stack,
)
from .. import init
from ..parameter import Parameter
from ..utils.rnn import PackedSequence
from .module import Module


class RNNBase(Module):
    """A stack of recurrent layers over a sequence; subclasses say the cell.

    The parameters of layer k are weight_ih_lk, weight_hh_lk, bias_ih_lk, bias_hh_lk and, where the
    hidden state is projected to proj_size features, weight_hr_lk; those of the other direction end
    in _reverse.
    """

    gates = 1  # how many gates stand one above the other in a weight

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device=None,
        dtype=None,
    ):
        super().__init__()
        for name, value in (("bias", bias), ("batch_first", batch_first)):
            if not isinstance(value, bool):
                kind = type(value).__name__
                raise TypeError(f"{name} should be of type bool, got: {kind}")
        if input_size <= 0:
            raise ValueError("input_size must be greater than zero")
        if hidden_size <= 0:
            raise ValueError("hidden_size must be greater than zero")
        if num_layers <= 0:
            raise ValueError("num_layers must be greater than zero")
        if not 0 <= proj_size < hidden_size:
            raise ValueError(
                f"proj_size must be 0 (no projection) or less than hidden_size, got {proj_size}"
            )
        if isinstance(dropout, bool) or not 0 <= dropout <= 1:
            raise ValueError(
                "dropout should be a number in range [0, 1] representing the probability of an "
                "element being zeroed"
            )
        if dropout > 0 and num_layers == 1:
            warnings.warn(
                "dropout option adds dropout after all but last recurrent layer, so non-zero "
                f"dropout expects num_layers greater than 1, but got dropout={dropout} and "
                f"num_layers={num_layers}",
                stacklevel=3,
            )
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        self.all_weights_names = []
        rows, features = self.gates * hidden_size, self._features
        for layer in range(num_layers):
            columns = input_size if layer == 0 else features * (1 + bidirectional)
            for suffix in ("", "_reverse")[: 1 + bidirectional]:
                shapes = {"weight_ih": (rows, columns), "weight_hh": (rows, features)}
                if bias:
                    shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
                if proj_size:
                    shapes["weight_hr"] = (proj_size, hidden_size)
                for name, shape in shapes.items():
                    param = Parameter(empty(shape, device=device, dtype=dtype))
                    self.register_parameter(f"{name}_l{layer}{suffix}", param)
                self.all_weights_names += (f"{name}_l{layer}{suffix}" for name in shapes)
        self.reset_parameters()

    def reset_parameters(self):
        bound = 1.0 / math.sqrt(self.hidden_size)
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def flatten_parameters(self):
        """Does nothing: the weights need no common memory."""

    @property
    def _features(self) -> int:
        """The features of the output in one direction."""
        return self.proj_size or self.hidden_size

    def _state_shapes(self, batch: tuple) -> list[tuple]:
        """The shapes of the hidden state and, of an LSTM, the cell state; batch: (size,) or ()."""
        count = self.num_layers * (1 + self.bidirectional)
        features = (self._features, self.hidden_size)[: self.state_count]
        return [(count, *batch, size) for size in features]

    def forward(self, input, hx=None):
        if isinstance(input, PackedSequence):
            return self._forward_packed(input, hx)
        if input.dim() not in (2, 3):
            raise ValueError(
                f"{self._get_name()}: Expected input to be 2D or 3D, got {input.dim()}D instead"
            )
        if input.shape[-1] != self.input_size:
            raise RuntimeError(
                f"input.size(-1) must be equal to input_size. Expected {self.input_size}, got "
                f"{input.shape[-1]}"
            )
        single = input.dim() == 2
        batch_dim = 0 if self.batch_first else 1
        states = self._states(hx)
        shapes = self._state_shapes(() if single else (input.shape[batch_dim],))
        for state, shape in zip(states or (), shapes):
            if tuple(state.shape) != shape:
                raise RuntimeError(f"Expected hidden size {shape}, got {list(state.shape)}")
        if states is None:
            states = [input.new_zeros(shape) for shape in shapes]
        if single:
            input = input.unsqueeze(batch_dim)
            states = [state.unsqueeze(1) for state in states]
        output, *states = self._run(input, states)
        if single:
            output = output.squeeze(batch_dim)
            states = [state.squeeze(1) for state in states]
        return output, states[0] if self.state_count == 1 else tuple(states)

    state_count = 1  # how many tensors the state has

    def _states(self, hx):
        return None if hx is None else [hx]

    def _run(self, input, states):
        function = _C._functions[self.mode.lower()]
        weights = [getattr(self, name) for name in self.all_weights_names]
        return function(
            input,
            states if self.state_count > 1 else states[0],
            weights,
            self.bias,
            self.num_layers,
            self.dropout,
            self.training,
            self.bidirectional,
            self.batch_first,
        )

    def _forward_packed(self, packed, hx):
        """Layer by layer, in segments of time in which no sequence ends."""
        if packed.data.shape[-1] != self.input_size:
            raise RuntimeError(
                f"input.size(-1) must be equal to input_size. Expected {self.input_size}, got "
                f"{packed.data.shape[-1]}"
            )
        sizes = packed.batch_sizes.tolist()
        states, shapes = self._states(hx), self._state_shapes((sizes[0],))
        for state, shape in zip(states or (), shapes):
            if tuple(state.shape) != shape:
                raise RuntimeError(f"Expected hidden size {shape}, got {list(state.shape)}")
        if states is None:
            states = [packed.data.new_zeros(shape) for shape in shapes]
        elif packed.sorted_indices is not None:
            states = [state.index_select(1, packed.sorted_indices) for state in states]
        segments = [(size, len(list(same))) for size, same in groupby(sizes)]
        data, finals, weights = packed.data, [], self.all_weights
        for layer in range(self.num_layers):
            outs = []
            for way in range(1 + self.bidirectional):
                index = layer * (1 + self.bidirectional) + way
                first = [state[index] for state in states]
                out, last = self._run_packed(data, segments, first, weights[index], way == 1)
                outs.append(out)
                finals.append(last)
            data = outs[0] if len(outs) == 1 else cat(outs, -1)
            if self.dropout and layer + 1 < self.num_layers:
                data = dropout(data, self.dropout, self.training)
        states = [stack(each) for each in zip(*finals)]
        if packed.unsorted_indices is not None:
            states = [state.index_select(1, packed.unsorted_indices) for state in states]
        output = PackedSequence(
            data, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices
        )
        return output, states[0] if self.state_count == 1 else tuple(states)

    def _run_packed(self, data, segments, first, weights, reverse):
        """One layer in one direction; the output and the final states."""
        function = _C._functions[self.mode.lower()]
        inputs = data.split([size * steps for size, steps in segments])
        order = list(zip(segments, inputs))
        states, ended, outs = [state[:0] for state in first], [], []
        if not reverse:
            states = first
        for (size, steps), rows in reversed(order) if reverse else order:
            here = states[0].shape[0]
            if size > here:  # sequences that begin at their end
                states = [cat([s, f[here:size]]) for s, f in zip(states, first)]
            elif size < here:
                ended.append([s[size:] for s in states])
                states = [s[:size] for s in states]
            x = rows.unflatten(0, (steps, size))
            hx = [s.unsqueeze(0) for s in states]
            out, *states = function(
                x.flip(0) if reverse else x,
                hx if self.state_count > 1 else hx[0],
                weights,
                self.bias,
                1,
                0.0,
                self.training,
                False,
                False,
            )
            states = [s[0] for s in states]
            outs.append((out.flip(0) if reverse else out).flatten(0, 1))
        parts = zip(states, *reversed(ended))
        return cat(outs[::-1] if reverse else outs), [cat(part) for part in parts]

    @property
    def all_weights(self):
        """The weights, a list for each layer and direction."""
        size = (4 if self.bias else 2) + (self.proj_size > 0)
        names = self.all_weights_names
        return [
            [getattr(self, name) for name in names[i : i + size]]
            for i in range(0, len(names), size)
        ]

    def extra_repr(self):
        text = f"{self.input_size}, {self.hidden_size}"
        if self.proj_size != 0:
            text += f", proj_size={self.proj_size}"
        if self.num_layers != 1:
            text += f", num_layers={self.num_layers}"
        if self.bias is not True:
            text += f", bias={self.bias}"
        if self.batch_first is not False:
            text += f", batch_first={self.batch_first}"
        if self.dropout != 0:
            text += f", dropout={self.dropout}"
        if self.bidirectional is not False:
            text += f", bidirectional={self.bidirectional}"
        return text


class RNN(RNNBase):
    """Elman layers: h = tanh(W_ih x + b_ih + W_hh h + b_hh)."""

    def __init__(
        self,
        input_size,
        hidden_size,
        num_layers=1,
        nonlinearity="tanh",
        bias=True,
        batch_first=False,
        dropout=0.0,
        bidirectional=False,
        device=None,
        dtype=None,
    ):
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(
                f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'."
            )
        self.nonlinearity = nonlinearity
        super().__init__(
            f"RNN_{nonlinearity.upper()}",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            0,
            device,
            dtype,
        )


class LSTM(RNNBase):
    """Long short-term memory. Gates in the weights: input, forget, cell, output."""

    gates = 4
    state_count = 2

    def __init__(self, *args, **kwargs):
        super().__init__("LSTM", *args, **kwargs)

    def _states(self, hx):
        return None if hx is None else list(hx)


class GRU(RNNBase):
    """Gated recurrent units. Gates in the weights: reset, update, new."""

    gates = 3

    def __init__(self, *args, **kwargs):
        if "proj_size" in kwargs:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        super().__init__("GRU", *args, **kwargs)


class RNNCellBase(Module):
    """One step of a recurrent layer; num_chunks gates stand one above the other in a weight."""

    def __init__(
        self, input_size, hidden_size, bias: bool, num_chunks: int, device=None, dtype=None
    ):
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        rows = num_chunks * hidden_size
        shapes = {"weight_ih": (rows, input_size), "weight_hh": (rows, hidden_size)}
        shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
        for name, shape in shapes.items():
            if bias or name.startswith("weight"):
                param = Parameter(empty(shape, device=device, dtype=dtype))
            else:
                param = None
            self.register_parameter(name, param)
        self.reset_parameters()

    def reset_parameters(self):
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def _step(self, function, input, states, names):
        """The new states, for a batch or one element."""
        kind = type(self).__name__
        if input.dim() not in (1, 2):
            raise ValueError(f"{kind}: Expected input to be 1D or 2D, got {input.dim()}D instead")
        if states is None:
            states = [input.new_zeros(*input.shape[:-1], self.hidden_size)] * len(names)
        for name, state in zip(names, states):
            if state.dim() not in (1, 2):
                raise ValueError(
                    f"{kind}: Expected {name} to be 1D or 2D, got {state.dim()}D instead"
                )
        single = input.dim() == 1
        if single:
            input, states = input.unsqueeze(0), [state.unsqueeze(0) for state in states]
        hx = states[0] if len(names) == 1 else list(states)
        new = function(input, hx, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        new = (new,) if len(names) == 1 else tuple(new)
        return tuple(state.squeeze(0) for state in new) if single else new

    def extra_repr(self):
        bias = "" if self.bias is True else f", bias={self.bias}"
        return f"{self.input_size}, {self.hidden_size}{bias}"


class RNNCell(RNNCellBase):
    """One step of an Elman layer."""

    def __init__(
        self, input_size, hidden_size, bias=True, nonlinearity="tanh", device=None, dtype=None
    ):
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input, hx=None):
        if self.nonlinearity not in ("tanh", "relu"):
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        step = rnn_tanh_cell if self.nonlinearity == "tanh" else rnn_relu_cell
        return self._step(step, input, None if hx is None else [hx], ["hidden"])[0]

    def extra_repr(self):
        kind = "" if self.nonlinearity == "tanh" else f", nonlinearity={self.nonlinearity}"
        return super().extra_repr() + kind


class LSTMCell(RNNCellBase):
    """One step of an LSTM."""

    def __init__(self, input_size, hidden_size, bias=True, device=None, dtype=None):
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(self, input, hx=None):
        return self._step(lstm_cell, input, hx, ["hx[0]", "hx[1]"])


class GRUCell(RNNCellBase):
    """One step of a GRU."""

    def __init__(self, input_size, hidden_size, bias=True, device=None, dtype=None):
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input, hx=None):
        return self._step(gru_cell, input, None if hx is None else [hx], ["hidden"])[0]
