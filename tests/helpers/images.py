"""Image files and folders of them."""

import random
from pathlib import Path

from PIL import Image

from mubench.task.data import Samples


def write_tree(root: Path, samples: Samples, class_names, suffixes=(".png",)) -> None:
    """Writes `root/<class>/<image>` in an order and under names that say nothing."""
    shuffled = random.Random(root.name)
    order = list(range(len(samples)))
    shuffled.shuffle(order)
    for index in order:
        folder = root / class_names[samples.labels[index]]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = samples.images[index].permute(1, 2, 0).numpy()
        image = Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[:, :, 0])
        path = folder / f"{shuffled.getrandbits(64):x}{shuffled.choice(suffixes)}"
        image.save(path)


def save_image(path: Path, value: int = 0, size: tuple[int, int] = (16, 16)) -> None:
    """A picture that differs for each value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, 255 - value, value // 2)).save(path)
