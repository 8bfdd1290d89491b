"""Operators as objects: facula.ops.aten.add.Tensor.

A namespace has packets, a packet has overloads. Packets and overloads are callable.
"""

from . import _C

load_library = _C._load_library


class OpOverloadPacket:
    """All overloads of an operator; calling it takes the first that the arguments fit."""

    def __init__(self, namespace, name, overloads):
        self._namespace = namespace
        self.__name__ = self._name = name
        self._overloads = {overload._overloadname: overload for overload in overloads}

    def __getattr__(self, name):
        try:
            return self.__dict__["_overloads"][name]
        except KeyError:
            raise AttributeError(f"{self!r} has no overload {name!r}") from None

    def __call__(self, *args, **kwargs):
        overloads = [o for name, o in self._overloads.items() if name != "out"]
        if "out" in kwargs:
            overloads = [self._overloads["out"]]
        for overload in overloads[:-1]:
            try:
                return overload(*args, **kwargs)
            except TypeError:
                pass
        return overloads[-1](*args, **kwargs)

    def overloads(self):
        """The names of the overloads."""
        return list(self._overloads)

    def __iter__(self):
        return iter(self._overloads)

    def __repr__(self):
        return f"<OpOverloadPacket(op='{self._namespace}.{self._name}')>"

    def __str__(self):
        return f"{self._namespace}.{self._name}"


class _Namespace:
    def __init__(self, name):
        self.name = name

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        overloads = _C._overloads(self.name, name)
        if not overloads:
            raise AttributeError(f"there is no operator '{self.name}::{name}'")
        packet = OpOverloadPacket(self.name, name, overloads)
        if self.name == "aten":  # operators of other namespaces may still get overloads
            self.__dict__[name] = packet
        return packet

    def __repr__(self):
        return f"<namespace facula.ops.{self.name}>"


def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    namespace = globals()[name] = _Namespace(name)
    return namespace
