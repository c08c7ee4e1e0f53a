"""`bsnn bench --device cuda`, with programs that run on the CPU: what it measures, not how fast."""

from __future__ import annotations

import json
import sys

import pytest

pytest.importorskip("brian2cuda", reason="brian2cuda is not installed: make test-cuda installs it")

from bsnn.cli import main
from bsnn.datasets import DATA_VARIABLE


@pytest.mark.usefixtures("emulated_gpu")
def test_bench(tmp_path, monkeypatch, capsys):
    path = tmp_path / "bench.json"
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    monkeypatch.setattr(
        sys,
        "argv",
        ["bsnn", "bench", "--device", "cuda", "--networks", "mnist,vgg16", "--images", "5",
         "--batch", "3", "--rounds", "1", "--json", str(path)],
    )  # fmt: skip
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0
    said = capsys.readouterr().out
    assert "Emulated GPU" in said
    found = json.loads(path.read_text())
    (row,) = found["rows"]
    assert (row["network"], row["images"], row["batch"], row["steps"]) == ("mnist", 5, 3, 32)
    assert row["accuracy"] == 1
    assert row["images_per_second"] == pytest.approx(5 / row["seconds"])
    # of one batch, object by object
    assert any("to_conv2" in name for name in row["longest"])
    assert all(seconds >= 0 for seconds in row["longest"].values())
    # neither PyTorch nor a GPU for it are there
    assert set(found["left_out"]) == {"mnist, PyTorch step by step", "vgg16"}
