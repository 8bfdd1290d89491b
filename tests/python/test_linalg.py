"""Decompositions and the norms that need them: values against NumPy, gradients of both orders."""

import facula
import numpy as np
import pytest
from facula.autograd import gradcheck, gradgradcheck


@pytest.mark.parametrize("shape", [(3, 3), (2, 4, 3), (2, 3)])
@pytest.mark.parametrize("dtype", [facula.float64, facula.complex128])
def test_nuclear_norm(shape, dtype):
    facula.manual_seed(0)
    x = facula.randn(shape, dtype=dtype)
    values = np.linalg.svd(x.numpy(), compute_uv=False).sum(-1)
    np.testing.assert_allclose(facula.norm(x, "nuc", dim=(-2, -1)).numpy(), values)
    x.requires_grad_()
    assert gradcheck(lambda x: facula.norm(x, "nuc", dim=(-2, -1)), x)
    assert gradgradcheck(lambda x: facula.norm(x, "nuc", dim=(-2, -1)), x)


def test_nuclear_norm_of_nothing():
    assert facula.norm(facula.zeros(0, 3), "nuc").item() == 0
