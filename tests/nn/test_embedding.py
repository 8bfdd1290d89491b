"""The gradient of embedding: many buckets of rows, rows longer than a bucket, half types."""

import facula as torch
import pytest
from facula.nn import functional as F


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("rows, columns, count", [(5000, 7, 300), (3, 9000, 5), (70, 300, 900)])
@pytest.mark.parametrize("options", [{}, {"padding_idx": 1}, {"scale_grad_by_freq": True}], ids=str)
def test_dense_gradient(rows, columns, count, dtype, options):
    torch.manual_seed(0)
    weight = torch.randn(rows, columns).to(dtype).requires_grad_()
    indices = torch.randint(0, rows, (count,))
    indices[:2] = 1
    seed = torch.randn(count, columns).to(dtype)
    result = torch.autograd.grad(F.embedding(indices, weight, **options), weight, seed)[0]
    exact = seed.double()
    if options.get("scale_grad_by_freq"):
        exact = exact / torch.bincount(indices)[indices].unsqueeze(1)
    if "padding_idx" in options:
        exact = exact.masked_fill((indices == 1).unsqueeze(1), 0)
    expected = torch.zeros(rows, columns, dtype=torch.float64).index_add_(0, indices, exact)
    slack = {torch.float32: 1e-5, torch.float64: 1e-13, torch.float16: 1e-2}.get(dtype, 4e-2)
    assert result.dtype == dtype
    assert (result.double() - expected).abs().max().item() < slack


def test_any_number_of_threads():
    torch.manual_seed(0)
    before = torch.get_num_threads()
    indices, seed = torch.randint(0, 2000, (5000,)), torch.randn(5000, 100)
    weight = torch.zeros(2000, 100, requires_grad=True)
    try:
        results = []
        for threads in (1, 3):
            torch.set_num_threads(threads)
            results += torch.autograd.grad(F.embedding(indices, weight), weight, seed)
        assert torch.equal(*results)
    finally:
        torch.set_num_threads(before)
