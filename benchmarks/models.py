"""Models whose training step is timed: MLP, LeNet, a small ResNet, a GPT and an LSTM.

A model is a function of the framework `T` that returns one call: forward, loss, backward and the
step of its optimizer. Data and weights are random, from a fixed seed.
"""

MODELS = {}


def model(build):
    MODELS[build.__name__] = build
    return build


def training(optimizer, loss):
    def step():
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    return step


@model
def mlp(T):
    """784-512-512-10, batches of 128, Adam."""
    nn = T.nn
    net = nn.Sequential(
        nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)
    )
    x, y = T.randn(128, 784), T.randint(0, 10, (128,))
    optimizer = T.optim.Adam(net.parameters(), lr=1e-3)
    return training(optimizer, lambda: nn.functional.cross_entropy(net(x), y))


@model
def lenet(T):
    """Two convolutions, a pooling and two linear layers on 28 x 28 images, batches of 64, SGD."""
    nn = T.nn
    net = nn.Sequential(
        nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * 49, 128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip
    x, y = T.randn(64, 1, 28, 28), T.randint(0, 10, (64,))
    optimizer = T.optim.SGD(net.parameters(), lr=1e-2, momentum=0.9)
    return training(optimizer, lambda: nn.functional.cross_entropy(net(x), y))


def residual(T, channels, classes):
    nn = T.nn

    class Block(nn.Module):
        """Two convolutions beside a shortcut; the first one halves the image."""

        def __init__(self, before, after):
            super().__init__()
            self.conv1 = nn.Conv2d(before, after, 3, 2, 1, bias=False)
            self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
            self.norm1, self.norm2 = nn.BatchNorm2d(after), nn.BatchNorm2d(after)
            self.shortcut = nn.Conv2d(before, after, 1, 2, bias=False)

        def forward(self, x):
            y = self.norm2(self.conv2(self.norm1(self.conv1(x)).relu()))
            return (y + self.shortcut(x)).relu()

    blocks = [Block(a, b) for a, b in zip(channels, channels[1:])]
    return nn.Sequential(
        nn.Conv2d(3, channels[0], 3, 1, 1, bias=False), nn.BatchNorm2d(channels[0]), nn.ReLU(),
        *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels[-1], classes),
    )  # fmt: skip


@model
def resnet(T):
    """Four residual blocks up to 256 channels on 64 x 64 images, batches of 8, SGD."""
    net = residual(T, [32, 64, 128, 256], 100)
    x, y = T.randn(8, 3, 64, 64), T.randint(0, 100, (8,))
    optimizer = T.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    return training(optimizer, lambda: T.nn.functional.cross_entropy(net(x), y))


def transformer(T, layers, heads, width, vocabulary, context):
    nn, F = T.nn, T.nn.functional

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def attend(self, x):
            batch, time, _ = x.shape
            parts = self.qkv(x).split(width, dim=2)
            q, k, v = (p.view(batch, time, heads, width // heads).transpose(1, 2) for p in parts)
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            return self.out(y.transpose(1, 2).reshape(batch, time, width))

        def forward(self, x):
            x = x + self.attend(self.norm1(x))
            return x + self.down(F.gelu(self.up(self.norm2(x))))

    class Transformer(nn.Module):
        def __init__(self):
            super().__init__()
            self.token = nn.Embedding(vocabulary, width)
            self.place = nn.Embedding(context, width)
            self.layers = nn.Sequential(*[Layer() for _ in range(layers)])
            self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)

        def forward(self, tokens):
            x = self.token(tokens) + self.place(T.arange(tokens.shape[1]))
            return self.head(self.norm(self.layers(x)))

    return Transformer()


@model
def gpt(T):
    """Four layers of width 128, a context of 128, batches of 8, AdamW."""
    net = transformer(T, 4, 4, 128, 1000, 128)
    x, y = T.randint(0, 1000, (8, 128)), T.randint(0, 1000, (8 * 128,))
    optimizer = T.optim.AdamW(net.parameters(), lr=1e-3)
    return training(optimizer, lambda: T.nn.functional.cross_entropy(net(x).view(-1, 1000), y))


@model
def lstm(T):
    """Two layers of 256 units over 35 steps, batches of 20, Adam."""
    nn = T.nn
    embed, rnn, head = nn.Embedding(1000, 128), nn.LSTM(128, 256, 2), nn.Linear(256, 1000)
    params = [*embed.parameters(), *rnn.parameters(), *head.parameters()]
    x, y = T.randint(0, 1000, (35, 20)), T.randint(0, 1000, (700,))
    optimizer = T.optim.Adam(params, lr=1e-3)
    return training(
        optimizer,
        lambda: nn.functional.cross_entropy(head(rnn(embed(x))[0]).view(-1, 1000), y),
    )
