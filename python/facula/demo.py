"""python -m facula.demo: trains a small network on digits that it draws itself.

The digits are rendered from a font of 5 by 7 dots, shifted, scaled, slanted and covered with noise.
A convolutional network learns to read them in a few seconds.
"""

from __future__ import annotations

import shutil
import sys
import time

import facula as torch
from facula import nn

FONT = """
.###. ..#.. .###. ##### ...#. ##### ..##. ##### .###. .###.
#...# .##.. #...# ...#. ..##. #.... .#... ....# #...# #...#
#..## ..#.. ....# ..#.. .#.#. ####. #.... ...#. #...# #...#
#.#.# ..#.. ...#. ...#. #..#. ....# ####. ..#.. .###. .####
##..# ..#.. ..#.. ....# ##### ....# #...# .#... #...# ....#
#...# ..#.. .#... #...# ...#. #...# #...# .#... #...# ...#.
.###. .###. ##### .###. ...#. .###. .###. .#... .###. .##..
"""
SIZE = 20
SHADES = " .:-=+*#%@"


def glyphs() -> torch.Tensor:
    """The ten digits, (10, 7, 5)."""
    rows = [line.split() for line in FONT.split("\n") if line]
    return torch.tensor([[[float(c == "#") for c in row[d]] for row in rows] for d in range(10)])


def draw(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (count, 1, SIZE, SIZE) and their labels."""
    labels = torch.randint(0, 10, (count,))
    high, wide = 1.6 + 0.9 * torch.rand(count, 1, 1), 1.6 + 1.2 * torch.rand(count, 1, 1)
    slant = 0.6 * torch.rand(count, 1, 1) - 0.3
    center = torch.rand(2, count, 1, 1) * 5 - 2.5 + SIZE / 2
    axis = torch.arange(SIZE) + 0.5
    y, x = axis.view(1, SIZE, 1) - center[0], axis.view(1, 1, SIZE) - center[1]
    row = (y / high + 3.5).floor()
    column = ((x + slant * y) / wide + 2.5).floor()
    inside = (row >= 0) & (row < 7) & (column >= 0) & (column < 5)
    place = (labels.view(-1, 1, 1) * 7 + row.clamp(0, 6)) * 5 + column.clamp(0, 4)
    ink = glyphs().flatten()[place.long()] * inside
    noise = 0.25 * torch.randn(count, SIZE, SIZE)
    return (ink + noise).clamp(0, 1).unsqueeze(1), labels


def network() -> nn.Module:
    """Two convolutions and two linear layers."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * (SIZE // 4) ** 2, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )


@torch.no_grad()
def accuracy(net: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    """The share of images that are read rightly."""
    return (net(images).argmax(1) == labels).float().mean().item()


class Progress:
    """A bar in a terminal; elsewhere a line now and then."""

    def __init__(self, total: int):
        self.total = total
        self.live = sys.stdout.isatty()

    def show(self, step: int, text: str) -> None:
        if self.live:
            width = max(10, min(40, shutil.get_terminal_size().columns - len(text) - 4))
            full = width * step // self.total
            end = "\n" if step == self.total else ""
            print(f"\r[{'#' * full}{'.' * (width - full)}] {text}", end=end, flush=True)
        elif step % (self.total // 5) == 0:
            print(f"{step:4}/{self.total} {text}", flush=True)


def picture(image: torch.Tensor) -> list[str]:
    """An image as lines of text."""
    levels = (image * (len(SHADES) - 1)).round().long().tolist()
    return ["".join(2 * SHADES[level] for level in row) for row in levels]


def main(steps: int = 200, batch: int = 64) -> float:
    torch.manual_seed(0)
    net = network()
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
    loss_of = nn.CrossEntropyLoss()
    images, labels = draw(1000)
    count = sum(p.numel() for p in net.parameters())
    print(f"facula {torch.__version__}: {count} parameters, {steps} steps of {batch} digits")
    start, seen, progress = time.perf_counter(), 0.0, Progress(steps)
    for step in range(1, steps + 1):
        x, y = draw(batch)
        optimizer.zero_grad()
        loss = loss_of(net(x), y)
        loss.backward()
        optimizer.step()
        if step % 20 == 0:
            seen = accuracy(net, images, labels)
        progress.show(step, f"loss {loss.item():.3f}  accuracy {seen:6.1%}")
    elapsed = time.perf_counter() - start
    print(f"{elapsed:.1f} s, {steps * batch / elapsed:.0f} digits a second\n")
    sample, label = images[0, 0], labels[0].item()
    print("\n".join(picture(sample)))
    chance = net(images[:1]).softmax(1)[0]
    guess = chance.argmax().item()
    print(f"\nThis is a {label}; the network says {guess}, with {chance[guess].item():.1%}.")
    return seen


if __name__ == "__main__":
    main()
