"""The data sets that bsnn knows: where they are published and what they must hold."""

from __future__ import annotations

import dataclasses

from bsnn.registry import Registry

__all__ = ["DATASETS", "Archive", "DatasetSpec", "Part"]


@dataclasses.dataclass(frozen=True)
class Archive:
    """One file to download: its addresses in order of preference, and its checksum."""

    urls: tuple[str, ...]
    known_hash: str


@dataclasses.dataclass(frozen=True)
class Part:
    """One split of a data set.

    Attributes
    ----------
    files : tuple of str
        Published names, unpacked. For ``idx``: the images, then the labels.
    label_counts : tuple of int
        How often each label occurs; what was read must agree.
    """

    files: tuple[str, ...]
    label_counts: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class DatasetSpec:
    """A data set: layout (``"idx"`` or ``"cifar"``), image shape, splits and source."""

    name: str
    layout: str
    image_shape: tuple[int, int, int]
    classes: tuple[str, ...]
    parts: dict[str, Part]
    archives: dict[str, Archive]


def _idx_parts(train_counts: tuple[int, ...], test_counts: tuple[int, ...]) -> dict[str, Part]:
    return {
        "train": Part(("train-images-idx3-ubyte", "train-labels-idx1-ubyte"), train_counts),
        "test": Part(("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"), test_counts),
    }


def _idx_archives(bases: tuple[str, ...], md5s: dict[str, str]) -> dict[str, Archive]:
    return {
        f"{name}.gz": Archive(tuple(f"{base}{name}.gz" for base in bases), f"md5:{md5}")
        for name, md5 in md5s.items()
    }


DATASETS = Registry(
    "data set",
    (
        DatasetSpec(
            name="mnist",
            layout="idx",
            image_shape=(1, 28, 28),
            classes=tuple("0123456789"),
            parts=_idx_parts(
                (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949),
                (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009),
            ),
            # The publisher's own site often refuses downloads: it is tried last.
            archives=_idx_archives(
                (
                    "https://storage.googleapis.com/cvdf-datasets/mnist/",
                    "https://ossci-datasets.s3.amazonaws.com/mnist/",
                    "http://yann.lecun.com/exdb/mnist/",
                ),
                {
                    "train-images-idx3-ubyte": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
                    "train-labels-idx1-ubyte": "d53e105ee54ea40749a09fcbcd1e9432",
                    "t10k-images-idx3-ubyte": "9fb629c4189551a2d022fa330f9573f3",
                    "t10k-labels-idx1-ubyte": "ec29112dd5afa0611ce80d1b7f02629c",
                },
            ),
        ),
        DatasetSpec(
            name="fashion-mnist",
            layout="idx",
            image_shape=(1, 28, 28),
            classes=(
                "T-shirt/top",
                "Trouser",
                "Pullover",
                "Dress",
                "Coat",
                "Sandal",
                "Shirt",
                "Sneaker",
                "Bag",
                "Ankle boot",
            ),
            parts=_idx_parts((6000,) * 10, (1000,) * 10),
            archives=_idx_archives(
                ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
                {
                    "train-images-idx3-ubyte": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
                    "train-labels-idx1-ubyte": "25c81989df183df01b3e8a0aad5dffbe",
                    "t10k-images-idx3-ubyte": "bef4ecab320f06d8554ea6380940ec79",
                    "t10k-labels-idx1-ubyte": "bb300cfdad3c16e7a12a480ee83cd310",
                },
            ),
        ),
        DatasetSpec(
            name="cifar10",
            layout="cifar",
            image_shape=(3, 32, 32),
            classes=(
                "airplane",
                "automobile",
                "bird",
                "cat",
                "deer",
                "dog",
                "frog",
                "horse",
                "ship",
                "truck",
            ),
            parts={
                "train": Part(tuple(f"data_batch_{i}.bin" for i in range(1, 6)), (5000,) * 10),
                "test": Part(("test_batch.bin",), (1000,) * 10),
            },
            archives={
                "cifar-10-binary.tar.gz": Archive(
                    ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
                    "md5:c32a1d4ab5d03f1284b67883e8d87530",
                )
            },
        ),
    ),
)
