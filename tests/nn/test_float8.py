"""Layers of eight-bit floats: computed in float32 and rounded once, gradients too."""

import facula
import facula.nn.functional as F
import pytest

CALLS = {
    "softmax": lambda x: F.softmax(x, 0),
    "log_softmax": lambda x: F.log_softmax(x, -1),
    "layer_norm": lambda x: F.layer_norm(x, x.shape[1:]),
    "rms_norm": lambda x: F.rms_norm(x, x.shape[-1:]),
    "batch_norm": lambda x: F.batch_norm(x, None, None, training=True),
    "group_norm": lambda x: F.group_norm(x, 2),
    "cross_entropy": lambda x: F.cross_entropy(x, CLASSES, reduction="none"),
    "nll_loss": lambda x: F.nll_loss(x, CLASSES, reduction="none"),
    "embedding": lambda x: F.embedding(CLASSES[0], x.flatten(1)),
    "max_pool2d": lambda x: F.max_pool2d(x, 2),
    "avg_pool2d": lambda x: F.avg_pool2d(x, 2),
    "interpolate": lambda x: F.interpolate(x, (5, 70), mode="bilinear"),
}
CLASSES = facula.arange(4 * 6 * 40).reshape(4, 6, 40) % 4


def answers(call, x):
    y = call(x.requires_grad_())
    (g,) = facula.autograd.grad(y, x, facula.ones_like(y))
    return y.detach(), g


@pytest.mark.parametrize("dtype", [facula.float8_e5m2, facula.float8_e4m3fn], ids=str)
@pytest.mark.parametrize("name", CALLS)
def test_float8(name, dtype):
    facula.manual_seed(0)
    x = facula.randn(4, 4, 6, 40).to(dtype)
    for mine, wide in zip(answers(CALLS[name], x), answers(CALLS[name], x.detach().float())):
        assert mine.dtype == dtype
        facula.testing.assert_close(mine.float(), wide, rtol=0.3, atol=4 * facula.finfo(dtype).eps)
