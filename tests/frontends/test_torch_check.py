"""What tracing does not see is not converted silently; and nothing is refused that is right."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import bsnn
from bsnn.networks.sengupta_2019.network import Vgg16, resnet20


def make(gain=1.0):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 16, 4)
    ).eval()
    with torch.no_grad():
        net[3].weight *= gain
        net[3].bias *= gain
    return net


def assert_right(net, shape, rtol=1e-5):
    graph = bsnn.from_torch(net, shape)
    images = torch.rand(4, *shape)
    with torch.no_grad():
        expected = net(images).numpy()
    found = graph.forward(images.numpy())
    np.testing.assert_allclose(found, expected, rtol=0, atol=rtol * np.abs(expected).max())


def scaled(factor):
    return lambda module, inputs, output: output * factor


def only_one_output(module, inputs, output):
    output = output.clone()
    output[:, 2] *= 1.001
    return output


def clamped(**limits):
    return lambda module, inputs: (inputs[0].clamp(**limits),)


@pytest.mark.parametrize("gain", [1, 1e-6, 1e-12, 1e8])
@pytest.mark.parametrize(
    ("place", "hook"),
    [
        ("3", scaled(1.3)),
        ("0", scaled(1.3)),
        ("", scaled(0.7)),
        ("3", only_one_output),
        ("", lambda module, inputs, output: output[:, :2]),
    ],
)
def test_hooks_that_change_what_comes_out_are_converted(place, hook, gain):
    net = make(gain)
    net.get_submodule(place).register_forward_hook(hook)
    assert_right(net, (2, 4, 4))


@pytest.mark.parametrize("limits", [{"min": 0}, {"max": 20}, {"max": 0.5}, {"min": -1, "max": 2}])
def test_hooks_that_clip_images_are_converted(limits):
    net = make()
    net.register_forward_pre_hook(clamped(**limits))
    graph = bsnn.from_torch(net, (2, 4, 4))
    images = 30 * torch.randn(6, 2, 4, 4)
    np.testing.assert_allclose(
        graph.forward(images.numpy()), net(images).detach().numpy(), rtol=0, atol=1e-4
    )


def test_a_hook_that_changes_an_input_in_place_is_converted():
    net = make()
    net[3].register_forward_pre_hook(lambda module, inputs: (inputs[0].mul_(2),))
    assert_right(net, (2, 4, 4))


def test_hooks_that_look_on_are_accepted():
    net, seen = make(), []
    net[0].register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    net.register_forward_pre_hook(lambda module, inputs: None)
    assert_right(net, (2, 4, 4))
    assert seen


class Stateful(nn.Module):
    """A net of which each forward pass leaves something for the next."""

    def __init__(self, forward):
        super().__init__()
        self.net = make()
        self.calls = 0
        self.register_buffer("factor", torch.ones(()))
        self.after = forward

    def forward(self, x):
        return self.after(self, x)


def every_other(m, x):
    m.calls += 1
    return m.net(x) if m.calls % 2 else functional.relu(m.net(x))


def noisy(module, inputs, output):
    return output + torch.rand_like(output)


def mixing(module, inputs, output):
    return output + 1e-3 * output.max()


def growing(m, x):
    m.factor += 1
    with torch.no_grad():
        m.net[3].bias.data = m.net[3].bias.data * 1.1
    return m.net(x)


def test_a_model_that_counts_its_calls_is_refused():
    with pytest.raises(bsnn.ConversionError, match="does not compute what the model does"):
        bsnn.from_torch(Stateful(every_other).eval(), (2, 4, 4))


def test_a_model_that_changes_its_weights_is_refused():
    with pytest.raises(bsnn.ConversionError):
        bsnn.from_torch(Stateful(growing).eval(), (2, 4, 4))


def test_a_model_that_changes_nothing_that_counts_is_accepted():
    def counting(m, x):
        m.calls += 1
        m.factor += 1
        return m.net(x)

    net = Stateful(counting).eval()
    graph = bsnn.from_torch(net, (2, 4, 4))
    assert (net.calls, float(net.factor)) == (0, 1)
    images = torch.rand(4, 2, 4, 4)
    np.testing.assert_allclose(
        graph.forward(images.numpy()), net.net(images).detach().numpy(), atol=1e-5
    )


@pytest.mark.parametrize(
    ("hook", "message"), [(noisy, "differs between images"), (mixing, "over the images of a batch")]
)
def test_a_model_whose_result_is_not_of_one_image_alone_is_refused(hook, message):
    net = make()
    net[3].register_forward_hook(hook)
    with pytest.raises(bsnn.ConversionError, match=f"test_torch_check.py, line.*{message}"):
        bsnn.from_torch(net, (2, 4, 4))


def test_a_model_whose_result_depends_on_the_number_of_images_is_refused():
    net = make()
    net[3].register_forward_hook(lambda module, inputs, output: output * len(output))
    with pytest.raises(bsnn.ConversionError, match="same image a second time.*one image alone"):
        bsnn.from_torch(net, (2, 4, 4))


def test_dropout_that_stays_active_is_refused():
    net = Stateful(lambda m, x: functional.dropout(m.net(x), 0.5, True)).eval()
    with pytest.raises(bsnn.ConversionError, match="stays active"):
        bsnn.from_torch(net, (2, 4, 4))


def test_a_layer_whose_forward_pass_was_replaced_is_refused():
    net = make()
    net[3].forward = lambda x: torch.ones(len(x), 4, dtype=x.dtype)
    with pytest.raises(bsnn.ConversionError, match="does not depend on the images"):
        bsnn.from_torch(net, (2, 4, 4))


@pytest.mark.parametrize("gain", [1e-30, 1e-12, 1e-6, 1e6, 1e25])
def test_outputs_of_any_size_are_accepted(gain):
    assert_right(make(gain), (2, 4, 4))


def test_constant_outputs_are_accepted():
    net = make()
    nn.init.zeros_(net[3].weight)
    assert_right(net, (2, 4, 4))
    nn.init.zeros_(net[3].bias)
    assert_right(net, (2, 4, 4))
    net = make()
    nn.init.constant_(net[0].bias, -1e4)
    assert_right(net, (2, 4, 4))


@pytest.mark.parametrize("layer", [0, 3])
@pytest.mark.parametrize("rest", [0.0, 1e-4])
def test_sums_that_cancel_are_accepted(layer, rest):
    """All inputs of the second layer occur twice, and are weighed against each other."""
    net = nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1, bias=False),
        nn.ReLU(),
        nn.Conv2d(6, 6, 3, bias=False),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(6 * 4, 4, bias=False),
    ).eval()
    with torch.no_grad():
        net[0].weight[3:] = net[0].weight[:3]
        net[2].weight[:, 3:] = -(1 + rest) * net[2].weight[:, :3]
        if layer:
            net[2].weight[3:] = net[2].weight[:3]
            net[5].weight[:, 12:] = -(1 + rest) * net[5].weight[:, :12]
    graph = bsnn.from_torch(net, (1, 4, 4))
    assert len(graph) == 7


def test_weights_that_a_hook_computes_are_accepted():
    torch.manual_seed(0)
    with pytest.warns(FutureWarning):
        normed = nn.utils.weight_norm(nn.Linear(48, 4))
    spectral = nn.utils.spectral_norm(nn.Conv2d(2, 3, 3, padding=1))
    net = nn.Sequential(spectral, nn.ReLU(), nn.Flatten(), normed).eval()
    with torch.no_grad():
        # as they are computed once, they can be copied
        net(torch.rand(1, 2, 4, 4))
        normed.weight_g.mul_(3)
    assert_right(net, (2, 4, 4))


def statistics(net):
    """Give all BatchNorms what training may give them."""
    torch.manual_seed(1)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.2, 3)
            nn.init.normal_(module.weight, 1, 0.3)
            nn.init.normal_(module.bias)
    return net.eval()


@pytest.mark.parametrize(
    "net",
    [lambda: resnet20(), lambda: Vgg16(width=0.25)],
    ids=["resnet20", "vgg16"],
)
def test_deep_networks_are_accepted(net):
    assert_right(statistics(net()), (3, 32, 32), rtol=1e-4)


def deep(layers):
    parts = []
    for _ in range(layers):
        parts += [nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(True)]
    return statistics(nn.Sequential(nn.Conv2d(1, 4, 1), *parts, nn.Flatten(), nn.Linear(64, 3)))


def test_a_very_deep_network_is_accepted():
    assert_right(deep(40), (1, 4, 4), rtol=1e-3)


@pytest.mark.parametrize("variance", [1e-44, 3e38])
def test_a_batch_norm_whose_weights_float32_cannot_hold_is_refused(variance):
    net = nn.Sequential(
        nn.Conv2d(1, 2, 3, bias=False),
        nn.BatchNorm2d(2, eps=0),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8, 2, bias=False),
    )
    with torch.no_grad():
        net[0].weight *= 1e30 if variance < 1 else 1e-25
        net[1].running_var.fill_(variance)
    with pytest.raises(bsnn.ConversionError, match="float32"):
        bsnn.from_torch(net.eval(), (1, 4, 4))
