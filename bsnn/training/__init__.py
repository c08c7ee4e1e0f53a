"""Training of PyTorch modules: a loop that is kept and resumed, and random changes of images."""

from bsnn.training.augmentation import crop_and_flip, pad_for_crops, random_affine
from bsnn.training.fitting import Outcome, fit, on_device
from bsnn.training.keeping import TrainingFolder

__all__ = [
    "Outcome",
    "TrainingFolder",
    "crop_and_flip",
    "fit",
    "on_device",
    "pad_for_crops",
    "random_affine",
]
