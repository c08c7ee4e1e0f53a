"""Read what the last `make run` has left in results/, and say how well the network did."""

import json
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent


def main():
    """Print accuracy and spikes; write results.npz."""
    network = json.loads((HERE / "network.json").read_text())
    predictions, values = read_classes(network)
    found = {"predictions": predictions, "values": values}
    labels = HERE / "inputs" / "labels.npy"
    if labels.exists():
        correct = predictions == np.load(labels)
        print(f"accuracy: {100 * correct.mean():.2f} % ({correct.sum()} of {len(correct)})")
    spikes = neurons = 0
    for name, layer in network["layers"].items():
        recorded = of_layer(network, layer)
        # what is recorded of a neuron is the number of its spikes, or stands for one
        known = network["spikes_by_recorded"]
        counts = recorded if known is None else np.array(known)[recorded]
        found[f"spikes_{name}"] = counts.sum(axis=1)
        print(f"{name}: {counts.mean():.4f} spikes a neuron")
        spikes += counts.sum() / network["images"]
        neurons += layer["neurons"]
    print(f"in all: {spikes:,.0f} spikes an image, {spikes / neurons:.4f} a neuron")
    np.savez_compressed(HERE / "results.npz", **found)
    print(f"written: {HERE / 'results.npz'}")


def read(entry):
    """Return what is in the file of an entry of network.json."""
    try:
        return np.fromfile(HERE / entry["file"], dtype=entry["dtype"])
    except FileNotFoundError:
        raise SystemExit(f"{entry['file']} is not there: make run writes it.") from None


def of_layer(network, layer):
    """Return what was recorded of a layer: a row for each image, a column for each neuron."""
    return read(layer).reshape(-1, layer["neurons"])[: network["images"]]


def read_classes(network):
    """Return predictions, and the value of each output that they are read from."""
    entry = network["read_out"]
    images, batch, outputs = network["images"], network["batch"], len(entry["scale"])
    recorded = read(entry).reshape(network["rounds"], -1, batch, outputs)
    # where there is a record for each step, the last counts
    values = recorded[:, -1].reshape(-1, outputs)[:images].astype(np.float64)
    values = (values - entry["offset"]) * entry["scale"]
    if network["read_each_step"]:
        values /= network["steps"]
    chosen = values
    if network["decided_by_spikes"]:
        # the class whose spikes encode most; among equals, or without, that of most potential
        levels = of_layer(network, network["layers"][entry["layer"]])
        chosen = np.where(levels == levels.max(axis=1, keepdims=True), values, -np.inf)
    order = np.argsort(entry["order"])
    return chosen[:, order].argmax(axis=1), values[:, order]


if __name__ == "__main__":
    main()
