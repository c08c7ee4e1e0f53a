"""The page that `bsnn report` writes."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
import reference
from rate_networks import MaxCnn, make_rate_model

import bsnn
from bsnn.analysis.report import report_html, write_report
from bsnn.analysis.report.embedding import embedded, frame_length
from bsnn.explain.cost import spiking_cost
from bsnn.explain.recording import record
from bsnn.networks import paper

pytestmark = pytest.mark.usefixtures("numpy_target")

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")

VOID = {"meta", "input", "br", "link", "img", "hr"}


class Page(HTMLParser):
    """The elements of a page, all of which must be closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.inside: dict[str, list[str]] = {}
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs), f"{tag} has an attribute twice"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.inside.setdefault(self.open[-1] if self.open else "", []).append(data)
        if not {"script", "style"} & set(self.open):
            self.texts.append(" ".join(data.split()))

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return " ".join(text for text in self.texts if text)

    @property
    def data(self) -> dict:
        (data,) = (text for text in self.inside["script"] if text.lstrip().startswith("{"))
        return json.loads(data)


@pytest.fixture
def ttfs(small_cnn):
    model, images = small_cnn(steps=9)
    return model, images[:6], [0, 1, 2, 3, 4, 0]


@pytest.fixture
def rate():
    model, images = make_rate_model(MaxCnn(), (2, 7, 7), encoder="regular", steps=12)
    return model, images[:6], [0, 1, 2, 3, 4, 0]


@pytest.fixture(params=["ttfs", "rate"])
def network(request):
    return request.getfixturevalue(request.param)


# Pages without options, by coding: they take seconds, and tests only read them.
_PAGES = {}


def page_of(network, **options) -> tuple[Page, bsnn.Result, str]:
    model, images, labels = network
    if not options and model.coding in _PAGES:
        return _PAGES[model.coding]
    result = bsnn.simulate(model, images, labels, progress=False)
    recording = record(model, images[:2])
    text = report_html(
        result,
        title="Report on net",
        model=model,
        recording=recording,
        labels=labels[:2],
        **options,
    )
    made = Page(text), result, text
    if not options:
        _PAGES[model.coding] = made
    return made


def decoded(packed: dict[str, str], wide: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Neurons and steps, as the page's script reads them."""
    counts = np.frombuffer(base64.b64decode(packed["counts"]), "<u4")
    neurons = np.frombuffer(base64.b64decode(packed["neurons"]), "<u4" if wide else "<u2")
    return neurons, np.repeat(np.arange(len(counts)), counts)


def test_page_has_the_figures(network):
    page, result, _ = page_of(network)
    assert f"{100 * result.accuracy:.2f} %" in page.text
    assert f"{100 * result.ann_accuracy:.2f} %" in page.text
    assert f"{result.spikes_per_neuron:.4g}" in page.text
    assert f"{result.operations_per_mac:.4g}" in page.text
    for description, text in result.rows():
        assert f"{description} {text}" in page.text
    for name, population in result.populations.items():
        assert name in page.text
        assert f"{population.rmse:.4g}" in page.text
    assert result.versions["brian2_version"] in page.text


def test_summary_is_first(network):
    page, _, _ = page_of(network)
    sections = [attributes["id"] for attributes in page.all("section")]
    assert sections == [
        "summary", "accuracy", "layers", "activity", "browse", "cost", "provenance",
    ]  # fmt: skip
    links = [attributes["href"] for attributes in page.all("a")]
    assert links == [f"#{section}" for section in sections]


def test_page_is_self_contained(network):
    page, _, text = page_of(network)
    assert "://" not in text
    assert not page.all("link")
    for tag, attributes in page.elements:
        for name in ("src", "href", "data", "action"):
            value = attributes.get(name, "#")
            assert value.startswith(("#", "data:")), f"{tag} {name}={value[:60]}"
    assert not re.search(r"@import|url\((?!#)", text)
    policy = page.all("meta")[2]
    assert policy["http-equiv"] == "Content-Security-Policy"
    assert policy["content"].startswith("default-src 'none'")


def test_names_in_the_page_are_unique_and_known(network):
    page, _, _ = page_of(network)
    names = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(set(names)) == len(names)
    for _, attributes in page.elements:
        for value in attributes.values():
            for name in re.findall(r"url\(#([\w-]+)\)|^#([\w-]+)$", value or ""):
                # colours are written so, too
                assert (name[0] or name[1]) in names or re.fullmatch(r"[0-9a-f]{6}", name[1])
    labels = [a["for"].split() for a in page.all("output")]
    assert {name for group in labels for name in group} <= set(names)


def test_page_is_for_everyone(network):
    page, _, _ = page_of(network)
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("h1")) == 1
    assert len(page.all("main")) == 1
    for drawing in page.all("svg"):
        assert drawing["role"] == "img"
        assert len(drawing["aria-label"]) > 20
        assert "viewbox" in drawing
        assert not {"width", "height"} & set(drawing)
    assert len(page.all("figcaption")) >= len(page.all("svg")) > 7
    assert all("scope" in header for header in page.all("th"))
    (slider,) = (field for field in page.all("input") if field["type"] == "range")
    assert slider["min"] == "0"


def test_figures_have_the_colours_of_the_page(network):
    page, _, text = page_of(network)
    drawn = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(drawn) == len(page.all("svg"))
    for svg in drawn:
        assert not re.search(r"#(000000|ffffff)\b", svg)
        assert "currentColor" in svg or "var(--" in svg
    style = "".join(page.inside["style"])
    for scheme in (":root", "prefers-color-scheme: dark", "@media print"):
        assert scheme in style
    used = set(re.findall(r"var\((--[\w-]+)\)", "".join(drawn)))
    assert used <= set(re.findall(r"(--[\w-]+):", style))


def test_embedded_spike_times_are_those_of_the_oracle(ttfs):
    model, images, _ = ttfs
    data = page_of(ttfs)[0].data
    expected = reference.simulate(model, images[:2])
    assert (data["coding"], data["window"]) == ("ttfs", 9)
    assert [layer["name"] for layer in data["layers"]] == list(expected.levels)
    for layer in data["layers"]:
        level = expected.levels[layer["name"]]
        assert layer["shape"] == list(level.shape[1:])
        for image in range(2):
            neurons, steps = decoded(data["images"][image]["spikes"][layer["name"]])
            found = np.zeros(level[image].size)
            found[neurons] = layer["start"] + 9 - steps
            np.testing.assert_array_equal(found, level[image].ravel())
    output = np.frombuffer(base64.b64decode(data["images"][1]["output"]), "<f4")
    np.testing.assert_allclose(
        output.reshape(data["steps"], -1)[-1], expected.potentials[1].ravel(), rtol=1e-5
    )
    assert [image["label"] for image in data["images"]] == [0, 1]


def test_embedded_rates_are_those_recorded(rate):
    model, images, _ = rate
    page, _, _ = page_of(rate)
    data = page.data
    recording = record(model, images[:2])
    assert data["steps"] == model.steps
    assert data["frame"] == 1
    for name, of_images in recording.spikes.items():
        for image, spikes in enumerate(of_images):
            neurons, steps = decoded(data["images"][image]["spikes"][name])
            np.testing.assert_array_equal(neurons, spikes.neurons)
            np.testing.assert_array_equal(steps, spikes.steps)
    pixels = np.frombuffer(base64.b64decode(data["images"][0]["pixels"]), np.uint8)
    np.testing.assert_array_equal(pixels, np.rint(255 * images[0]).ravel())


@pytest.mark.parametrize("frame", [1, 5, 12])
def test_steps_that_are_shown_together(rate, frame):
    model, images, _ = rate
    recording = record(model, images[:2])
    data = embedded(recording, frame=frame)
    ends = [*range(frame - 1, 12, frame), *([] if 12 % frame == 0 else [11])]
    for k, image in enumerate(data["images"]):
        output = np.frombuffer(base64.b64decode(image["output"]), "<f4").reshape(len(ends), -1)
        np.testing.assert_array_equal(output, recording.output[k, ends].astype(np.float32))
        for name, packed in image["spikes"].items():
            neurons, frames = decoded(packed)
            assert ("times" in packed) == (frame > 1)
            times = np.ones(len(neurons), int)
            if frame > 1:
                times = np.frombuffer(base64.b64decode(packed["times"]), "<u2")
            # a neuron is there once in a frame
            assert len(set(zip(neurons, frames, strict=True))) == len(neurons)
            found = np.zeros((model.populations[name].size, len(ends)), int)
            found[neurons, frames] = times
            wanted = np.zeros_like(found)
            spikes = recording.spikes[name][k]
            np.add.at(wanted, (spikes.neurons, spikes.steps // frame), 1)
            np.testing.assert_array_equal(found, wanted)


def test_frames_are_as_long_as_a_page_needs(rate, ttfs):
    recording = record(rate[0], rate[1][:2])
    total = sum(len(spikes.steps) for images in recording.spikes.values() for spikes in images)
    assert frame_length(recording, total) == 1
    frame = frame_length(recording, total // 2)
    assert 1 < frame <= 12
    images = embedded(recording, frame=frame)["images"]
    entries = [len(decoded(packed)[0]) for image in images for packed in image["spikes"].values()]
    assert sum(entries) <= total // 2 or frame == 12
    # many steps with few spikes are not one frame each, either
    assert frame_length(dataclasses.replace(recording, steps=2500)) == 9
    times = record(ttfs[0], ttfs[1][:1])
    assert frame_length(times, 1) == 1


def test_what_is_told_is_escaped(ttfs):
    evil = "</script><script>alert(1)</script>\"'&"
    page, _, text = page_of(
        ttfs,
        classes=[evil, "<b>", "&amp;", "d", "e"],
        facts=[("command", evil), (evil, "x")],
    )
    assert "alert(1)</script>" not in text
    assert page.data["classes"][:3] == [evil, "<b>", "&amp;"]
    assert len(page.all("script")) == 2
    assert not page.all("b")
    assert evil in page.text


def test_comparison_and_cost_are_there_if_given(ttfs):
    model, images, labels = ttfs
    result = bsnn.simulate(model, images, labels, progress=False)
    comparison = bsnn.compare(model, images, labels, progress=False)
    cost = spiking_cost(model, result)
    page = Page(report_html(result, title="all", model=model, comparison=comparison, cost=cost))
    assert "comparison" in [section["id"] for section in page.all("section")]
    for text in (comparison.diagnosis()[0], f"{cost.bits_moved:,.0f}", "estimated, not measured"):
        assert text in page.text, text
    assert "comparison" not in [
        section["id"] for section in Page(report_html(result, title="less")).all("section")
    ]


def test_images_without_labels(rate):
    model, images, _ = rate
    result = bsnn.simulate(model, images, progress=False)
    page = Page(report_html(result, title="no labels"))
    assert "accuracy, spiking" not in page.text
    assert "same class in both" in page.text


def test_writing_is_atomic(tmp_path):
    write_report(tmp_path / "page.html", "<p>é")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == "<p>é"
    with pytest.raises(bsnn.StorageError):
        write_report(tmp_path / "missing" / "page.html", "")
    assert os.listdir(tmp_path) == ["page.html"]


# --- the command ---


def mnist_model(folder, **options):
    shipped = paper("lopez_randulfe_2022").SHIPPED["mnist_cnn_sparse"]
    model = dataclasses.replace(bsnn.load_model(shipped), **options)
    model.save(folder / "model.h5")
    return model


def test_command_with_a_model_and_with_its_result(command_line, tmp_path):
    model = mnist_model(tmp_path)
    common = ("--dataset", "mnist-sample", "--images", 6, "--first", 3, "--device", "runtime")
    status, out, err = command_line("report", "model.h5", *common, "--browse", 2)
    assert status == 0, out + err
    assert "report.html" in out
    file = tmp_path / "report.html"
    assert file.stat().st_size < 5e6
    page = Page(file.read_text(encoding="utf-8"))
    assert "Report on model" in page.text
    assert "bsnn report model.h5 --dataset mnist-sample" in page.text
    assert model.source["source"] in page.text
    sample = bsnn.datasets.mnist_sample()
    assert [image["number"] for image in page.data["images"]] == [3, 4]
    assert [image["label"] for image in page.data["images"]] == sample.labels[3:5].tolist()

    status, out, err = command_line("run", "model.h5", *common, "--out", "result.h5")
    assert status == 0, out + err
    status, out, err = command_line("report", "result.h5", "-o", "other.html")
    assert status == 0, out + err
    short = Page((tmp_path / "other.html").read_text(encoding="utf-8"))
    assert [section["id"] for section in short.all("section")] == [
        "summary", "accuracy", "layers", "cost", "provenance",
    ]  # fmt: skip
    result = bsnn.load_result(tmp_path / "result.h5")
    for found in (page, short):
        assert f"{result.spikes_per_neuron:.4g}" in found.text
    assert len(short.all("script")) == 0
    # nothing is simulated of which that could be said
    status, _, err = command_line("report", "result.h5", *common[:4], "--seed", 0)
    assert status == 1
    assert "--dataset, --images, --seed: result.h5 holds a result" in err


def test_command_with_something_else(command_line, tmp_path):
    (tmp_path / "notes.h5").write_text("none")
    for name, message in (("missing.h5", "does not exist"), ("notes.h5", "no")):
        status, _, err = command_line("report", name)
        assert status == 1
        assert name in err
        assert message in err
    assert not (tmp_path / "report.html").exists()


# --- in a browser ---


@pytest.fixture(scope="session")
def browser():
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"needs a browser: {', '.join(BROWSERS)}")
    return found


def dom_of(browser: str, address: str, profile) -> str:
    found = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}",
         "--virtual-time-budget=3000", "--dump-dom", address],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return found.stdout


def told_by(dom: str, name: str) -> str:
    found = re.search(rf'id="browse-{name}"[^>]*>(.*?)</(output|figcaption|span|ol)>', dom, re.S)
    return " ".join(re.sub(r"<[^>]+>", " ", found.group(1)).split())


def test_stepping_through_in_a_browser(network, browser, tmp_path):
    model, images, labels = network
    _, _, text = page_of(network, first=20)
    write_report(tmp_path / "page.html", text)
    recording = record(model, images[:2])
    layer = "conv2"
    spikes = recording.spikes[layer][1]
    step = int(np.bincount(spikes.steps).argmax())
    address = f"{(tmp_path / 'page.html').as_uri()}#image=21&layer={layer}&step={step}"
    dom = dom_of(browser, address, tmp_path / "profile")
    now, so_far = (spikes.steps == step).sum(), (spikes.steps <= step).sum()
    status = told_by(dom, "status")
    assert f"Time step {step} of 0 to {recording.steps - 1}" in status
    assert f"{layer} has {now} spikes now, {so_far} so far" in status
    channels, rows, columns = model.populations[layer].shape
    assert f"{channels} maps of {rows} × {columns} neurons" in told_by(dom, "maps-text")
    assert f"image 21, label {labels[1]}" in told_by(dom, "input-text")

    address = address.replace(f"step={step}", f"step={recording.steps - 1}")
    dom = dom_of(browser, address, tmp_path / "profile")
    final = recording.output[1, -1]
    assert f"{final.argmax()} leads" in told_by(dom, "output-text")
    shown = re.findall(r'class="value">([^<]*)<', dom)
    np.testing.assert_allclose([float(value) for value in shown], final, rtol=6e-3)


def test_stepping_through_frames_in_a_browser(rate, browser, tmp_path, monkeypatch):
    model, images, _ = rate
    monkeypatch.setattr("bsnn.analysis.report.page.frame_length", lambda recording: 5)
    _, _, text = page_of(rate, first=20)
    assert "5 of 12 steps are shown together." in text
    write_report(tmp_path / "page.html", text)
    recording = record(model, images[:2])
    spikes = recording.spikes["conv1"][0]
    address = f"{(tmp_path / 'page.html').as_uri()}#image=20&layer=conv1&step=11"
    dom = dom_of(browser, address, tmp_path / "profile")
    now, so_far = (spikes.steps >= 10).sum(), len(spikes.steps)
    status = told_by(dom, "status")
    assert "Time steps 10 to 11 of 0 to 11" in status
    assert f"conv1 has {now} spikes now, {so_far} so far" in status
    shown = re.findall(r'class="value">([^<]*)<', dom)
    np.testing.assert_allclose([float(v) for v in shown], recording.output[0, -1], rtol=6e-3)
