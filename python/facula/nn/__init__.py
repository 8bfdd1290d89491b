"""Neural networks: modules, parameters, functions, initial values."""

from . import functional, init, modules, parameter, utils
from .modules import *
from .parameter import Buffer, Parameter
