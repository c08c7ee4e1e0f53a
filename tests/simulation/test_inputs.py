"""Images and labels as they are handed over: equal results, or an error that says what to do."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from rate_networks import random_graph
from torch import nn

import bsnn
from bsnn.analysis.report import report_html
from bsnn.conversion import RateDynamics
from bsnn.cosimulation import record_pools
from bsnn.explain.forecast import forecast
from bsnn.explain.recording import record
from bsnn.explain.tracing import trace_neuron
from bsnn.simulation.shown import checked_images

ENCODERS = ("constant", "poisson", "regular")
CODINGS = ("ttfs", *ENCODERS)
SHAPE = (2, 4, 4)
RNG = np.random.default_rng(3)
BYTES = RNG.integers(0, 256, (6, *SHAPE), dtype=np.uint8)
BYTES[0, 0, 0, :2] = 0, 255
IMAGES = BYTES.astype(np.float32) / np.float32(255)
LABELS = np.array([0, 2, 1, 1, 0, 2])


def net() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 3)
    )  # fmt: skip


def convert(coding: str, images=IMAGES, graph=None, **options) -> bsnn.SpikingModel:
    graph = random_graph(net(), SHAPE) if graph is None else graph
    if coding == "ttfs":
        return bsnn.convert_to_ttfs(graph, images, steps=8, **options)
    return bsnn.convert_to_rate(graph, images, steps=8, encoder=coding, **options)


def simulate(model, images, labels=None) -> bsnn.Result:
    options = {"device": "runtime", "progress": False, "batch": 6}
    return bsnn.simulate(model, images, labels, **options)


@pytest.fixture(scope="module", params=CODINGS)
def model(request):
    return convert(request.param)


@pytest.fixture(scope="module")
def ttfs():
    return convert("ttfs")


@pytest.fixture(scope="module")
def constant():
    return convert("constant")


MASKED = np.ma.masked_array(IMAGES, np.zeros(IMAGES.shape, bool))
UNMEANT = {
    "uint8": (BYTES, "to 255.*divide them by 255"),
    "bytes as floats": (BYTES.astype(np.float64), "divide them by 255"),
    "tensor of bytes": (torch.from_numpy(BYTES), "divide them by 255"),
    "dark bytes": (BYTES // 64, "divide them by 255"),
    "16 bits": (BYTES.astype(np.uint16) * 257, "divide them by 65535"),
    "both signs": (IMAGES * 2 - 1, "name mean and std"),
    "twice as bright": (IMAGES * 2, "not divided by 255"),
    "NaN": (np.where(IMAGES > 0.9, np.nan, IMAGES), "NaN or infinite"),
    "infinite": (np.where(IMAGES > 0.9, np.inf, IMAGES), "NaN or infinite"),
    "masked": (np.ma.masked_greater(IMAGES, 0.9), "masked.*filled"),
    "one of them masked": ([IMAGES[0], np.ma.masked_greater(IMAGES[1], 0.5)], "masked"),
    "complex": (IMAGES.astype(complex), "complex numbers"),
    "objects": (IMAGES.astype(object), "objects"),
    "text": (IMAGES.astype(str), "text"),
    "no images": (IMAGES[:0], "no images"),
    "nothing": (None, "NoneType, not an array"),
    "a number": (0.5, "do not fit"),
    "a data set": (
        torch.utils.data.TensorDataset(torch.from_numpy(IMAGES)),
        "TensorDataset, not an array",
    ),
    "of many shapes": ([IMAGES[0], IMAGES[1, :1]], "cannot be read.*one shape"),
    "channels last": (IMAGES.transpose(0, 2, 3, 1), r"channels first, images.transpose\(0, 3, 1"),
    "one image": (IMAGES[0], "batch axis"),
    "one image, channels last": (IMAGES[0].transpose(1, 2, 0), "single image first"),
    "flat": (IMAGES.reshape(6, -1), r"images.reshape\(-1, 2, 4, 4\)"),
}


@pytest.mark.parametrize("kind", UNMEANT)
def test_images_that_cannot_be_meant_are_refused(model, kind):
    images, message = UNMEANT[kind]
    with pytest.raises(bsnn.BsnnError, match=message):
        model.check_images(images)


@pytest.mark.parametrize("coding", CODINGS)
def test_so_are_calibration_images(coding):
    graph = random_graph(net(), SHAPE)
    for kind in UNMEANT.keys() - {"both signs", "twice as bright"}:
        images, message = UNMEANT[kind]
        message = "No calibration images" if kind == "no images" else message
        with pytest.raises((bsnn.ConversionError, bsnn.GraphError), match=message):
            convert(coding, images, graph)


ENTRIES = {
    "simulate": lambda model, images: simulate(model, images),
    "present": lambda model, images: bsnn.build(model, images=6).present(images),
    "presentation": lambda model, images: bsnn.build(model, images=6).presentation(images),
    "compare": lambda model, images: bsnn.compare(model, images, progress=False),
    "forecast": lambda model, images: forecast(model, images, progress=False),
    "sweep": lambda model, images: bsnn.sweep(
        model, images, None, [bsnn.Axis("loss", [0.1])], device="runtime", progress=False
    ),
    "export": lambda model, images: bsnn.export(model, images, directory="never", target="cpp"),
    "record": lambda model, images: record(model, images),
    "trace": lambda model, images: trace_neuron(model, images[0], "conv1", (0, 0, 0)),
    "expected spikes": lambda model, images: model.expected_spikes(images),
    "code": lambda model, images: model.code(images),
    "dynamics": lambda model, images: RateDynamics(model, images),
    "refit": lambda model, images: bsnn.refit_thresholds(
        model, images, device="runtime", progress=False
    ),
    "poolings": lambda model, images: record_pools(model, images),
}


# of one coding only
RATE_ONLY, TTFS_ONLY = {"dynamics", "refit", "poolings"}, {"code"}


@pytest.mark.parametrize(
    ("coding", "entry"),
    [
        *(("ttfs", entry) for entry in ENTRIES if entry not in RATE_ONLY),
        *(("constant", entry) for entry in ENTRIES if entry not in TTFS_ONLY),
    ],
)
def test_wherever_they_enter(coding, entry, ttfs, constant, numpy_target, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = ttfs if coding == "ttfs" else constant
    for kind in ("uint8", "bytes as floats", "both signs", "NaN", "masked", "objects"):
        images, message = UNMEANT[kind]
        with pytest.raises(bsnn.BsnnError, match=message):
            ENTRIES[entry](model, images)
    assert not list(tmp_path.iterdir())


FORMS = {
    "float64": IMAGES.astype(np.float64),
    "float16": IMAGES.astype(np.float16),
    "big endian": IMAGES.astype(">f4"),
    "Fortran order": np.asfortranarray(IMAGES),
    "nothing masked": MASKED,
    "tensor": torch.from_numpy(IMAGES),
    "tensor with gradient": torch.from_numpy(IMAGES).requires_grad_(),
    "half": torch.from_numpy(IMAGES).half().requires_grad_(),
    "bfloat16": torch.from_numpy(IMAGES).bfloat16(),
    "list of arrays": list(IMAGES),
    "list of tensors": list(torch.from_numpy(IMAGES).requires_grad_()),
    "nested lists": IMAGES.tolist(),
    "last bits above and below": np.where(
        IMAGES == 0, -1e-7, np.where(IMAGES == 1, 1.0000001, IMAGES)
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_the_same_images(model, form):
    """Short floats to their precision, all others as the array; each as torch reads it."""
    found = model.check_images(FORMS[form])
    short = {"float16": 1e-3, "half": 1e-3, "bfloat16": 1e-2}
    np.testing.assert_allclose(found, IMAGES, rtol=0, atol=short.get(form, 2e-7))
    assert found.dtype in (np.float32, np.float64)
    wanted = net_logits(model, torch.from_numpy(np.array(found, np.float32)))
    np.testing.assert_allclose(model.graph.forward(FORMS[form]), wanted, rtol=1e-4, atol=1e-4)


def net_logits(model, images: torch.Tensor) -> np.ndarray:
    x = images
    for layer in model.graph:
        if layer.kind == "conv2d":
            x = nn.functional.conv2d(x, *map(torch.from_numpy, layer.arrays.values()), padding=1)
        elif layer.kind == "linear":
            x = nn.functional.linear(x, *map(torch.from_numpy, layer.arrays.values()))
        elif layer.kind == "relu":
            x = x.relu()
        elif layer.kind == "max_pool2d":
            x = nn.functional.max_pool2d(x, 2)
        elif layer.kind == "flatten":
            x = x.flatten(1)
    return x.numpy()


@pytest.mark.parametrize("coding", ["ttfs", "poisson"])
def test_tensors_are_simulated_as_arrays(coding, numpy_target):
    model, tensor = convert(coding), torch.from_numpy(IMAGES).requires_grad_()
    found, wanted = simulate(model, tensor, torch.from_numpy(LABELS)), simulate(model, IMAGES)
    np.testing.assert_array_equal(found.potentials, wanted.potentials)
    np.testing.assert_array_equal(found.labels, LABELS)
    assert found.accuracy == (wanted.predictions == LABELS).mean()


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64])
def test_black_and_white_images_may_be_of_any_type(model, dtype):
    binary = IMAGES > 0.5
    found = model.check_images(binary.astype(dtype))
    np.testing.assert_array_equal(found, binary.astype(np.float32))
    assert found.dtype == np.float32


@pytest.mark.parametrize("coding", CODINGS)
def test_a_network_trained_on_bytes_says_so_by_its_scale(coding):
    """The first weights divided by 255: the same network, of pixels up to 255."""
    graph = random_graph(net(), SHAPE)
    first = graph["conv1"]
    layers = [
        bsnn.graph.Conv2d(
            name="conv1", inputs=first.inputs, weight=first.weight / np.float32(255),
            bias=first.bias, padding=first.padding, stride=first.stride, groups=first.groups,
        ) if layer is first else layer
        for layer in graph
    ]  # fmt: skip
    graph = bsnn.Graph(layers, graph.output)
    for images in (BYTES, BYTES.astype(np.float32)):
        large = convert(coding, images, graph, input_scale=255.0)
        np.testing.assert_array_equal(large.check_images(images), BYTES)
        assert large.scales["conv1"] == pytest.approx(convert(coding).scales["conv1"], rel=1e-5)
        for wrong in (BYTES * 4.0, IMAGES * 2 - 1):
            with pytest.raises(bsnn.InputError):
                large.check_images(wrong)
    with pytest.raises(bsnn.ConversionError, match="divide them by 255.*input_scale"):
        convert(coding, BYTES.astype(np.float32), graph)


@pytest.mark.parametrize("images", [BYTES, BYTES.astype(np.float32)], ids=["uint8", "float32"])
def test_or_by_its_normalisation(images):
    colours = {"mean": [120.0, 130.0], "std": [60.0, 50.0]}
    graph = random_graph(net(), SHAPE, **colours)
    model = convert("constant", images, graph)
    np.testing.assert_array_equal(model.check_images(images), BYTES)
    with pytest.raises(bsnn.InputError, match="from 0 to 255"):
        model.check_images(-BYTES.astype(np.float32))
    np.testing.assert_array_equal(graph.check_images(images), BYTES)


def test_a_normalisation_of_pixels_up_to_one():
    graph = random_graph(net(), SHAPE, mean=[0.5, 0.4], std=[0.2, 0.3])
    normalised = (IMAGES - 0.5) / np.float32(0.2)
    for encoder in ENCODERS:
        model = convert(encoder, IMAGES, graph)
        for wrong in (BYTES, BYTES.astype(np.float32), normalised, IMAGES * 1.01):
            with pytest.raises(bsnn.InputError):
                model.check_images(wrong)
        for wrong in (BYTES, BYTES.astype(np.float32), normalised):
            with pytest.raises(bsnn.ConversionError):
                convert(encoder, wrong, graph)


@pytest.mark.parametrize("coding", CODINGS)
def test_images_that_were_normalised_beforehand(coding):
    """A current may be of either sign and any size; what is far from it is still refused."""
    normalised = (IMAGES - np.float32(0.5)) / np.float32(0.2)
    if coding == "ttfs":
        with pytest.raises(bsnn.ConversionError, match="name mean and std"):
            convert(coding, normalised)
        return
    options = {} if coding == "constant" else {"input_scale": 3.0}
    model = convert(coding, normalised, **options)
    np.testing.assert_array_equal(model.check_images(normalised), normalised)
    # other images are not exactly as bright
    np.testing.assert_array_equal(model.check_images(normalised * 1.1), normalised * 1.1)
    for wrong in (BYTES, BYTES // 64, BYTES.astype(np.float32)):
        with pytest.raises(bsnn.InputError, match=r"-2.5 to 2.5.*calibrated|spikes a step"):
            model.check_images(wrong)


def test_values_above_one_for_a_current():
    counts = RNG.integers(0, 6, (6, *SHAPE)).astype(np.float32)
    model = convert("constant", counts)
    np.testing.assert_array_equal(model.check_images(counts.astype(int)), counts)
    with pytest.raises(bsnn.InputError, match="0 to 5"):
        model.check_images(-counts)


def test_what_a_file_holds(tmp_path, constant):
    """Of a file that does not say what its network was calibrated with, undivided pixels only."""
    constant.save(tmp_path / "model.h5")
    kept = bsnn.load_model(tmp_path / "model.h5")
    with pytest.raises(bsnn.InputError, match="name mean and std"):
        kept.check_images(IMAGES * 2 - 1)
    for name in ("lowest", "highest"):
        del kept.calibration[name]
    kept.check_images(IMAGES * 2 - 1)
    for wrong in (BYTES, BYTES.astype(np.float32)):
        with pytest.raises(bsnn.InputError, match="divide them by 255"):
            kept.check_images(wrong)


SAME_LABELS = {
    "list": LABELS.tolist(),
    "tuple": tuple(LABELS),
    "uint8": LABELS.astype(np.uint8),
    "floats": LABELS.astype(np.float32),
    "tensor": torch.from_numpy(LABELS),
    "tensor with gradient": torch.from_numpy(LABELS.astype(np.float32)).requires_grad_(),
    "nothing masked": np.ma.masked_array(LABELS, np.zeros(6, bool)),
    "list of tensors": list(torch.from_numpy(LABELS)),
}


@pytest.mark.parametrize("form", SAME_LABELS)
def test_forms_of_the_same_labels(ttfs, form):
    _, labels = checked_images(ttfs, IMAGES, SAME_LABELS[form])
    np.testing.assert_array_equal(labels, LABELS)
    assert labels.dtype == np.int64


WRONG_LABELS = {
    "a column": (LABELS[:, np.newaxis], r"shape \(6, 1\).*labels\[:, 0\]"),
    "one-hot": (np.eye(3)[LABELS], r"one-hot.*argmax"),
    "a row": (LABELS[np.newaxis], r"shape \(1, 6\)"),
    "one for all": (1, r"shape \(\)"),
    "too few": (LABELS[:5], "6 images but 5 labels"),
    "text": (LABELS.astype(str), "text"),
    "objects": (LABELS.astype(object), "objects"),
    "halves": (LABELS + 0.5, "whole numbers"),
    "NaN": (np.where(LABELS == 1, np.nan, LABELS), "whole numbers"),
    "infinite": (np.where(LABELS == 1, np.inf, LABELS), "whole numbers"),
    "negative": (LABELS - 1, "from -1 to 1"),
    "from one": (LABELS + 1, "from 1 to 3.*subtract 1"),
    "huge": (LABELS.astype(np.uint64) + 2**63, "3 output"),
    "masked": (np.ma.masked_equal(LABELS, 1), "masked"),
    "a set": ({0, 1, 2}, "set, not an array"),
    "names": (["cat", "dog", "cow", "cow", "cat", "cow"], "text"),
}

LABELLED = {
    "simulate": lambda model, labels: simulate(model, IMAGES, labels),
    "compare": lambda model, labels: bsnn.compare(model, IMAGES, labels, progress=False),
    "sweep": lambda model, labels: bsnn.sweep(
        model, IMAGES, labels, [bsnn.Axis("loss", [0.1])], device="runtime", progress=False
    ),
    "export": lambda model, labels: bsnn.export(
        model, IMAGES, labels, directory="never", target="cpp"
    ),
}


@pytest.mark.parametrize("entry", LABELLED)
@pytest.mark.parametrize("kind", WRONG_LABELS)
def test_labels_that_cannot_be_meant_are_refused(
    constant, entry, kind, numpy_target, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    labels, message = WRONG_LABELS[kind]
    with pytest.raises(bsnn.InputError, match=message):
        LABELLED[entry](constant, labels)
    assert not list(tmp_path.iterdir())


def test_so_are_those_of_a_report(constant, numpy_target):
    result, recording = simulate(constant, IMAGES), record(constant, IMAGES[:2])
    with pytest.raises(bsnn.InputError, match="one-hot"):
        report_html(
            result, title="t", model=constant, recording=recording, labels=np.eye(3)[LABELS[:2]]
        )


def test_a_map_has_no_classes(numpy_target):
    layers = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Conv2d(3, 4, 1))
    for coding in CODINGS:
        model = convert(coding, graph=random_graph(layers, SHAPE))
        for entry, call in LABELLED.items():
            for labels in (LABELS, None) if entry in ("compare", "sweep") else (LABELS,):
                with pytest.raises(bsnn.InputError, match=r"map of 4x2x2.*AdaptiveAvgPool2d"):
                    call(model, labels)
        with pytest.raises(bsnn.InputError, match="map of 4x2x2"):
            forecast(model, IMAGES)
        # the values of the map have a meaning
        bsnn.build(model, images=1).present(IMAGES[:1])
    one = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Conv2d(3, 4, 2))
    model = convert("ttfs", graph=random_graph(one, SHAPE))
    assert simulate(model, IMAGES, LABELS).potentials.shape == (6, 4)
