"""The ONNX front end, against onnxruntime."""

from __future__ import annotations

import re
import shutil
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn import functional
from typer.testing import CliRunner

import bsnn
from bsnn.cli.app import app

KERAS = Path(__file__).with_name("keras_mnist.onnx")


def run(model, images):
    content = model.SerializeToString() if isinstance(model, onnx.ModelProto) else str(model)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: images.astype(np.float32)})
    return found


def assert_exact(model, shape, samples=3, **options):
    graph = bsnn.from_onnx(model, **options)
    images = np.random.default_rng(0).normal(size=(samples, *shape)).astype(np.float32)
    expected = run(model, images)
    np.testing.assert_allclose(
        graph.forward(images), expected, rtol=0, atol=2e-5 * np.abs(expected).max()
    )
    return graph


def softmax(values):
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


# Models as exporters write them


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 8, 3, 2, padding=1, groups=2)
        self.conv3, self.fc = nn.Conv2d(16, 8, 1), nn.Linear(8 * 16, 5)

    def forward(self, x):
        x = functional.relu(self.bn(self.conv1(x)))
        y = functional.relu6(self.conv2(x))
        x = functional.max_pool2d(x, 2)
        x = functional.relu(self.conv3(torch.cat([x, y], 1)))
        x = functional.avg_pool2d(x, 2).clamp(0, 3)
        return self.fc(x.view(x.size(0), -1))


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.branch = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 8, 3, 2, padding=1)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        x = torch.relu((self.stem(x) - 0.1) / 0.5)
        shortcut = functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2))
        return self.head(torch.relu(self.branch(x) + shortcut).mean((2, 3)))


def exported(net, path, **options):
    torch.manual_seed(0)
    for name, value in net.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net.eval(), (torch.rand(1, 3, 16, 16),), str(path), verbose=False, **options
        )
    return path


EXPORTS = {
    "newer exporter": {"dynamo": True},
    "older exporter": {"dynamo": False},
    "opset 11": {"dynamo": False, "opset_version": 11},
    "any number of images": {
        "dynamo": False, "input_names": ["x"], "dynamic_axes": {"x": {0: "n"}},
    },
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("export", EXPORTS)
@pytest.mark.parametrize("net", [Net, Residual])
def test_what_pytorch_exports(net, export, tmp_path):
    path = exported(net(), tmp_path / "net.onnx", **EXPORTS[export])
    graph = assert_exact(path, (3, 16, 16), samples=1)
    if net is Net:
        assert {"conv2", "conv3", "fc"} <= {layer.name for layer in graph}


@pytest.mark.filterwarnings("ignore")
def test_weights_in_a_file_of_their_own(tmp_path):
    path = exported(Net(), tmp_path / "net.onnx", dynamo=False)
    proto = onnx.load(path)
    path.unlink()
    onnx.save(proto, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert_exact(path, (3, 16, 16), samples=1)
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(bsnn.ConversionError, match="no ONNX model, or not a whole one.*beside it"):
        bsnn.from_onnx(path)


@pytest.fixture(scope="module")
def keras():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        graph = bsnn.from_onnx(KERAS)
    return graph, [str(one.message) for one in caught]


def test_a_keras_network(keras):
    """Trained with Keras, exported by tf2onnx: keras_mnist.py says how."""
    graph, notes = keras
    assert graph.input.shape == (1, 28, 28)
    assert "channels first" in notes[0]
    assert "softmax" in notes[1]
    sample = bsnn.datasets.mnist_sample()
    expected = run(KERAS, sample.images.transpose(0, 2, 3, 1))
    np.testing.assert_allclose(softmax(graph.forward(sample.images)), expected, atol=1e-5)
    assert (expected.argmax(1) == sample.labels).mean() > 0.95


def test_a_keras_network_in_spikes(keras):
    graph, _ = keras
    images = bsnn.datasets.mnist_sample().images[:20]
    model = bsnn.convert_to_ttfs(graph, images, steps=256, norm="data-based", rounding=True)
    assert model.scales["conv2d_1_2"] == 6
    result = bsnn.simulate(model, images, batch=20, device="runtime", progress=False)
    expected = run(KERAS, images.transpose(0, 2, 3, 1))
    np.testing.assert_allclose(softmax(result.potentials), expected, atol=0.05)
    np.testing.assert_array_equal(result.predictions, expected.argmax(1))


# Single operators


def single(nodes, weights, shape, output, opset=17, dims=None):
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, dims or ["n", *shape])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", *output])],
        [numpy_helper.from_array(np.asarray(w), name) for name, w in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


RNG = np.random.default_rng(1)
WEIGHT = RNG.normal(size=(3, 2, 3, 3)).astype(np.float32)
MATRIX = RNG.normal(size=(8, 3)).astype(np.float32)
N = helper.make_node


@pytest.mark.parametrize("pads", ["SAME_UPPER", "SAME_LOWER", "VALID", [1, 0, 2, 1]])
def test_padding_of_convolutions(pads):
    padding = {"auto_pad": pads} if isinstance(pads, str) else {"pads": pads}
    dilations = [1, 1 if "SAME" in str(pads) else 2]
    node = N("Conv", ["x", "w"], ["y"], strides=[2, 1], dilations=dilations, **padding)
    model = single([node], {"w": WEIGHT}, (2, 8, 7), ["c", "h", "w"])
    assert_exact(model, (2, 8, 7))


@pytest.mark.parametrize(
    "node",
    [
        N("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_UPPER"),
        N("MaxPool", ["x"], ["y"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        N("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
        N("AveragePool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_UPPER"),
        N("AveragePool", ["x"], ["y"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        N("AveragePool", ["x"], ["y"], kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=1),
        N("GlobalAveragePool", ["x"], ["y"]),
        N("GlobalMaxPool", ["x"], ["y"]),
        N("ReduceMean", ["x"], ["y"], axes=[2, 3], keepdims=1),
        N("Clip", ["x", "low", "high"], ["y"]),
        N("Max", ["x", "low"], ["y"]),
        N("Min", ["x", "high"], ["y"]),
        N("Sub", ["high", "x"], ["y"]),
        N("Mul", ["x", "channels"], ["y"]),
        N("Div", ["x", "high"], ["y"]),
        N("Neg", ["x"], ["y"]),
        N("Sum", ["x", "channels", "x"], ["y"]),
        N("PRelu", ["x", "zeros"], ["y"]),
        N("Transpose", ["x"], ["y"], perm=[0, 1, 2, 3]),
        N("Dropout", ["x"], ["y"]),
    ],
    ids=lambda node: node.op_type,
)
def test_operators(node):
    constants = {
        "low": np.float32(0), "high": np.float32(1.5),
        "channels": np.array([1.5, 2], np.float32).reshape(2, 1, 1),
        "zeros": np.zeros((2, 1, 1), np.float32),
    }  # fmt: skip
    weights = {name: constants[name] for name in node.input if name in constants}
    identity = np.eye(2, dtype=np.float32).reshape(2, 2, 1, 1)
    # a convolution before it, so that it is not the images that are pooled
    first = N("Conv", ["x", "identity"], ["z"])
    for place, name in enumerate(node.input):
        if name == "x":
            node = onnx.NodeProto.FromString(node.SerializeToString())
            node.input[place] = "z"
    model = single([first, node], {"identity": identity, **weights}, (2, 7, 7), ["c", "h", "w"])
    assert_exact(model, (2, 7, 7))


@pytest.mark.parametrize("opset", [11, 13, 18, 21, 24])
def test_versions_of_operators(opset):
    if opset < 13:
        squeeze = N("Squeeze", ["p"], ["s"], axes=[2, 3])
        weights = {}
    else:
        squeeze = N("Squeeze", ["p", "axes"], ["s"])
        weights = {"axes": np.array([2, 3])}
    if opset < 18:
        mean = N("ReduceMean", ["c"], ["p"], axes=[2, 3])
    else:
        mean = N("ReduceMean", ["c", "axes"], ["p"])
    nodes = [
        N("Conv", ["x", "w"], ["c"]),
        mean,
        squeeze,
        N("Gemm", ["s", "m", "b"], ["y"], alpha=0.5, beta=2.0, transB=1),
    ]
    weights |= {"w": WEIGHT, "m": MATRIX[:, :].copy(), "b": np.ones(8, np.float32)}
    assert_exact(single(nodes, weights, (2, 6, 6), [8], opset), (2, 6, 6))


def test_a_signal():
    nodes = [
        N("Conv", ["x", "w"], ["c"], pads=[1, 1], strides=[2]),
        N("Relu", ["c"], ["r"]),
        N("MaxPool", ["r"], ["z"], kernel_shape=[2]),
        N("Flatten", ["z"], ["y"]),
    ]
    model = single(nodes, {"w": WEIGHT[:, :, 0]}, (2, 12), [15])
    with pytest.warns(bsnn.ConversionWarning, match=r"maps of one row.*\(2, 1, 12\)"):
        graph = bsnn.from_onnx(model)
    images = RNG.normal(size=(2, 2, 12)).astype(np.float32)
    found = graph.forward(images[:, :, np.newaxis])
    np.testing.assert_allclose(found, run(model, images), atol=1e-5)


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (N("Tanh", ["x"], ["y"], name="net/act/Tanh"), r"'net/act/Tanh' \(Tanh\).*ReLU"),
        (N("Mul", ["x", "x"], ["y"]), r"node 'y' \(Mul\).*multiplied by each other"),
        (N("LeakyRelu", ["x"], ["y"]), "LeakyRelu.*ReLU"),
        (N("LRN", ["x"], ["y"], size=3), "LRN.*batch normalisation"),
        (N("Pad", ["x", "pads"], ["y"], mode="edge"), "Pad.*zero padding"),
        (N("Concat", ["x", "ones"], ["y"], axis=1), "Concat.*constants"),
        (N("MaxPool", ["x"], ["y"], kernel_shape=[3, 3], auto_pad="SAME_LOWER",
           strides=[2, 2]), "MaxPool.*pads by"),
    ],
)  # fmt: skip
def test_what_cannot_be_converted_is_refused(node, message):
    weights = {
        "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        "ones": np.ones((2, 1, 4, 4), np.float32),
    }
    used = {name: weights[name] for name in node.input if name in weights}
    with pytest.raises(bsnn.ConversionError, match=message):
        bsnn.from_onnx(single([node], used, (2, 4, 4), ["c", "h", "w"]))


def test_what_does_not_fit_is_refused(tmp_path):
    node = N("Conv", ["x", "w"], ["y"])
    open_model = single([node], {"w": WEIGHT}, (2, "h", "w"), ["c", "h2", "w2"])
    with pytest.raises(bsnn.ConversionError, match=r"open: \(2, \?, \?\).*input_shape"):
        bsnn.from_onnx(open_model)
    assert bsnn.from_onnx(open_model, (2, 5, 5)).shapes["conv"] == (3, 3, 3)
    with pytest.raises(bsnn.ConversionError, match=r"input_shape is \(3, 5, 5\)"):
        bsnn.from_onnx(open_model, (3, 5, 5))
    old = single([node], {"w": WEIGHT}, (2, 4, 4), ["c", "h2", "w2"], opset=10)
    with pytest.raises(bsnn.ConversionError, match="opset 10.*version_converter"):
        bsnn.from_onnx(old)
    broken = WEIGHT.copy()
    broken[0, 0, 0, 0] = np.nan
    with pytest.raises(bsnn.ConversionError, match="'w' has 1 of 54 values"):
        bsnn.from_onnx(single([node], {"w": broken}, (2, 4, 4), ["c", "h2", "w2"]))
    path = tmp_path / "net.onnx"
    with pytest.raises(bsnn.ConversionError, match="does not exist"):
        bsnn.from_onnx(path)
    path.write_bytes(b"not a model")
    with pytest.raises(bsnn.ConversionError, match="no ONNX model"):
        bsnn.from_onnx(path)


def test_the_command_line_takes_onnx(tmp_path):
    shutil.copy(KERAS, tmp_path / "net.onnx")
    out = tmp_path / "net.h5"
    options = ["--dataset", "mnist-sample", "--images", "20", "-o", str(out)]
    found = CliRunner().invoke(app, ["convert", str(tmp_path / "net.onnx"), *options])
    assert found.exit_code == 0, found.output
    assert "channels first" in found.output
    assert bsnn.load_model(out).scales["conv2d_1_2"] == 6
    for option, message in (
        (["--weights", "w.pt"], "--weights: the network in .* has its weights"),
        (["--input-shape", "3,9,9"], r"input_shape is \(3, 9, 9\)"),
    ):
        found = CliRunner().invoke(app, ["convert", str(KERAS), *options, *option])
        assert isinstance(found.exception, bsnn.ConversionError)
        assert re.search(message, str(found.exception))


def test_normalised_images():
    model = single([N("Conv", ["x", "w"], ["y"])], {"w": WEIGHT}, (2, 4, 4), ["c", "h", "w"])
    graph = bsnn.from_onnx(model, mean=[0.4, 0.5], std=[0.2, 0.3])
    images = RNG.random((3, 2, 4, 4)).astype(np.float32)
    mean, std = (np.array(a, np.float32).reshape(2, 1, 1) for a in ([0.4, 0.5], [0.2, 0.3]))
    np.testing.assert_allclose(graph.forward(images), run(model, (images - mean) / std), atol=1e-4)
