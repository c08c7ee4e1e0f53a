"""What the tests of several papers' networks share."""

from __future__ import annotations

import json

import pytest
import torch

from bsnn.training import keeping


@pytest.fixture
def check_resuming(tmp_path, monkeypatch):
    """Interrupt a training of two epochs after the first; resumed, it ends with equal weights."""

    class Stop(Exception):
        pass

    save = keeping.save_torch

    def stop_after_the_first(state, path):
        save(state, path)
        raise Stop

    def check(train, images, settings) -> None:
        whole = train(images, tmp_path / "whole", settings, quiet=True)
        monkeypatch.setattr(keeping, "save_torch", stop_after_the_first)
        with pytest.raises(Stop):
            train(images, tmp_path / "parts", settings, quiet=True)
        monkeypatch.setattr(keeping, "save_torch", save)
        parts = train(images, tmp_path / "parts", settings, resume=True, quiet=True)
        for name, value in whole.state_dict().items():
            assert torch.equal(value, parts.state_dict()[name]), name
        lines = (tmp_path / "parts" / "log.jsonl").read_text().splitlines()
        assert [json.loads(line)["epoch"] for line in lines] == [1, 2]

    return check
