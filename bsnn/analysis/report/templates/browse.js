"use strict";
(() => {
  const data = JSON.parse(document.getElementById("browse-data").textContent);
  const part = (name) => document.getElementById(`browse-${name}`);
  const [imageSelect, layerSelect, playButton, slider, status] =
    ["image", "layer", "play", "step", "status"].map(part);
  const spiking = new Map();
  const outputs = new Map();
  let timer = null;

  const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0)).buffer;

  // Spikes of one image in one layer: where those of each step begin among the neurons.
  function spikesOf(image, layer) {
    const key = `${image}/${layer}`;
    if (!spiking.has(key)) {
      const { name, wide } = data.layers[layer];
      const packed = data.images[image].spikes[name];
      const counts = new Uint32Array(bytes(packed.counts));
      const neurons = wide
        ? new Uint32Array(bytes(packed.neurons)) : new Uint16Array(bytes(packed.neurons));
      const begins = new Uint32Array(counts.length + 1);
      counts.forEach((count, step) => { begins[step + 1] = begins[step] + count; });
      spiking.set(key, { counts, neurons, begins });
    }
    return spiking.get(key);
  }

  // What the class is read from, step after step; NaN before there is anything.
  function outputOf(image) {
    if (!outputs.has(image)) {
      const values = new Float32Array(bytes(data.images[image].output));
      const known = values.filter((value) => !Number.isNaN(value));
      const low = known.reduce((a, b) => Math.min(a, b), 0);
      const high = known.reduce((a, b) => Math.max(a, b), 0);
      outputs.set(image, { values, low, high: high > low ? high : low + 1 });
    }
    return outputs.get(image);
  }

  function colour(name) {
    const text = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    return [1, 3, 5].map((k) => parseInt(text.slice(k, k + 2), 16));
  }

  const mixed = (from, to, share) => from.map((value, k) => value + share * (to[k] - value));

  // A layer's channels side by side, a flat layer's neurons in rows: [columns of maps, maps, rows,
  // columns of a map].
  function arrangement(shape) {
    if (shape.length === 1) {
      const columns = Math.ceil(Math.sqrt(2 * shape[0]));
      return [1, 1, Math.ceil(shape[0] / columns), columns];
    }
    const [maps, rows, columns] = shape;
    const abreast = Math.ceil(Math.sqrt(1.6 * maps * rows / columns));
    return [Math.min(maps, abreast), maps, rows, columns];
  }

  function drawMaps(layer, image, step) {
    const { shape } = data.layers[layer];
    const [abreast, maps, rows, columns] = arrangement(shape);
    const canvas = part("maps");
    canvas.width = abreast * (columns + 1) + 1;
    canvas.height = Math.ceil(maps / abreast) * (rows + 1) + 1;
    // few neurons are not drawn as large as many
    canvas.style.maxWidth = `${Math.max(160, 14 * canvas.width)}px`;
    const { neurons, begins } = spikesOf(image, layer);
    const size = shape.reduce((a, b) => a * b);
    const told = new Float32Array(size);
    const ttfs = data.coding === "ttfs";
    const end = data.layers[layer].start + data.window;
    for (let k = 0, at = 0; at <= step; at += 1) {
      for (; k < begins[at + 1]; k += 1) {
        if (ttfs) told[neurons[k]] = (end - at) / data.window;
        else told[neurons[k]] += 1 / (step + 1);
      }
    }
    const [ground, silent, most, now] =
      ["--rule", "--paper", "--series-0", "--series-1"].map(colour);
    const context = canvas.getContext("2d");
    const pixels = context.createImageData(canvas.width, canvas.height);
    const put = (x, y, rgb) => {
      pixels.data.set([rgb[0], rgb[1], rgb[2], 255], 4 * (y * canvas.width + x));
    };
    for (let y = 0; y < canvas.height; y += 1) {
      for (let x = 0; x < canvas.width; x += 1) put(x, y, ground);
    }
    const place = (neuron) => {
      const map = Math.floor(neuron / (rows * columns));
      const inside = neuron % (rows * columns);
      return [
        (map % abreast) * (columns + 1) + 1 + (inside % columns),
        Math.floor(map / abreast) * (rows + 1) + 1 + Math.floor(inside / columns),
      ];
    };
    for (let neuron = 0; neuron < size; neuron += 1) {
      const value = told[neuron];
      put(...place(neuron), value ? mixed(silent, most, 0.2 + 0.8 * Math.min(1, value)) : silent);
    }
    for (let k = begins[step]; k < begins[step + 1]; k += 1) put(...place(neurons[k]), now);
    context.putImageData(pixels, 0, 0);
    const text = shape.length === 1
      ? `${size} neurons` : `${maps} ${maps === 1 ? "map" : "maps"} of ${rows} × ${columns} neurons`;
    canvas.setAttribute("aria-label", `spikes of ${data.layers[layer].name}: ${text}`);
    part("maps-text").textContent = `${data.layers[layer].name}: ${text}`;
  }

  function drawInput(image) {
    const [channels, rows, columns] = data.pixels.length === 1
      ? [1, 1, data.pixels[0]] : data.pixels;
    const canvas = part("input");
    canvas.width = columns;
    canvas.height = rows;
    const values = new Uint8Array(bytes(data.images[image].pixels));
    const context = canvas.getContext("2d");
    const pixels = context.createImageData(columns, rows);
    const dark = channels !== 3;
    for (let k = 0; k < rows * columns; k += 1) {
      const rgb = [0, 1, 2].map((c) => values[k + (channels === 3 ? c * rows * columns : 0)]);
      pixels.data.set([...(dark ? rgb.map((value) => 255 - value) : rgb), 255], 4 * k);
    }
    context.putImageData(pixels, 0, 0);
    const { number, label, trained } = data.images[image];
    const is = label === null ? "" : `, label ${data.classes[label]}`;
    const text = `image ${number}${is}, trained network: ${data.classes[trained]}`;
    canvas.setAttribute("aria-label", text);
    part("input-text").textContent = text;
  }

  function drawTimeline(layer, image, step) {
    const canvas = part("timeline");
    const scale = window.devicePixelRatio || 1;
    canvas.width = Math.max(1, Math.round(canvas.clientWidth * scale));
    canvas.height = Math.max(1, Math.round(canvas.clientHeight * scale));
    const context = canvas.getContext("2d");
    const { counts } = spikesOf(image, layer);
    const most = counts.reduce((a, b) => Math.max(a, b), 1);
    const width = canvas.width / data.steps;
    const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);
    counts.forEach((count, at) => {
      const height = count ? Math.max(scale, (count / most) * canvas.height) : 0;
      context.fillStyle = css(at === step ? "--series-1" : "--series-0");
      context.fillRect(at * width, canvas.height - height, Math.max(1, width - scale), height);
    });
    context.fillStyle = css("--series-1");
    context.fillRect(step * width, 0, Math.max(1, scale), canvas.height);
  }

  function drawOutput(image, step) {
    const { values, low, high } = outputOf(image);
    const size = data.classes.length;
    const now = Array.from(values.subarray(step * size, (step + 1) * size));
    const begun = !Number.isNaN(now[0]);
    const last = values.subarray((data.steps - 1) * size);
    // of many classes those that end highest
    const shown = [...data.classes.keys()];
    if (size > 12) shown.sort((a, b) => last[b] - last[a]).splice(12);
    const highest = Math.max(...now);
    const first = now.indexOf(highest);
    const leads = begun && now.lastIndexOf(highest) === first ? first : -1;
    const across = (value) => (100 * (value - low)) / (high - low);
    part("output").replaceChildren(...shown.map((k) => {
      const row = document.createElement("li");
      row.classList.toggle("leads", k === leads);
      const [name, track, value] = ["name", "track", "value"].map((kind) => {
        const element = document.createElement("span");
        element.className = kind;
        return element;
      });
      name.textContent = data.classes[k] + (k === data.images[image].label ? " ✓" : "");
      value.textContent = begun ? now[k].toPrecision(3) : "–";
      const bar = document.createElement("span");
      bar.className = "bar";
      const [from, to] = [0, begun ? now[k] : 0].map(across).sort((a, b) => a - b);
      bar.style.left = `${from}%`;
      bar.style.width = `${to - from}%`;
      const zero = document.createElement("span");
      zero.className = "zero";
      zero.style.left = `${across(0)}%`;
      track.append(bar, zero);
      row.append(name, track, value);
      return row;
    }));
    const what = data.coding === "ttfs" ? "potentials of the last layer" : "values told so far";
    const mark = data.images[image].label === null ? "" : " (✓: label)";
    const leader = leads < 0 ? "none leads" : `${data.classes[leads]} leads`;
    part("output-text").textContent = begun
      ? `${what}; ${leader}${mark}` : `${what}: its input has not begun`;
  }

  function show() {
    const [image, layer, step] = [imageSelect, layerSelect, slider].map((e) => Number(e.value));
    const { name, start } = data.layers[layer];
    const { counts, begins } = spikesOf(image, layer);
    let when = `Time step ${step} of 0 to ${data.steps - 1}`;
    if (data.coding === "ttfs") {
      const within = step - start;
      when += `, window ${Math.floor(step / data.window)}`;
      if (within >= 0 && within < data.window) when += ` (in which ${name} spikes)`;
    }
    status.textContent =
      `${when}: ${name} has ${counts[step]} spikes now, ${begins[step + 1]} so far.`;
    slider.setAttribute("aria-valuetext", status.textContent);
    drawMaps(layer, image, step);
    drawInput(image);
    drawTimeline(layer, image, step);
    drawOutput(image, step);
  }

  // The place is kept in the address, so that it can be sent to others.
  function keepPlace() {
    const place = new URLSearchParams({
      image: data.images[imageSelect.value].number,
      layer: data.layers[layerSelect.value].name,
      step: slider.value,
    });
    history.replaceState(null, "", `#${place}`);
  }

  function goToPlace() {
    const place = new URLSearchParams(location.hash.slice(1));
    const image = data.images.findIndex(({ number }) => String(number) === place.get("image"));
    const layer = data.layers.findIndex(({ name }) => name === place.get("layer"));
    if (image >= 0) imageSelect.value = image;
    if (layer >= 0) layerSelect.value = layer;
    if (place.has("step")) slider.value = place.get("step");
    show();
    if (place.has("image")) part("title").scrollIntoView();
  }

  function stop() {
    clearInterval(timer);
    timer = null;
    playButton.textContent = "Play";
    keepPlace();
  }

  function play() {
    if (timer !== null) {
      stop();
      return;
    }
    if (Number(slider.value) === data.steps - 1) slider.value = 0;
    playButton.textContent = "Pause";
    const slow = matchMedia("(prefers-reduced-motion: reduce)").matches;
    timer = setInterval(() => {
      slider.value = Number(slider.value) + 1;
      show();
      if (Number(slider.value) === data.steps - 1) stop();
    }, slow ? 800 : 160);
  }

  data.images.forEach(({ number, label }, k) => {
    const is = label === null ? "" : ` (${data.classes[label]})`;
    imageSelect.add(new Option(`${number}${is}`, k));
  });
  data.layers.forEach(({ name }, k) => layerSelect.add(new Option(name, k)));
  slider.max = data.steps - 1;
  part("key").textContent = data.coding === "ttfs"
    ? "has spiked, the stronger the earlier" : "rate so far, the stronger the higher";
  document.getElementById("browser").hidden = false;
  // a layer of which there is something to see
  layerSelect.value = Math.min(1, data.layers.length - 1);
  const { counts } = spikesOf(0, Number(layerSelect.value));
  slider.value = counts.indexOf(counts.reduce((a, b) => Math.max(a, b), 0));

  for (const control of [imageSelect, layerSelect, slider]) control.addEventListener("input", show);
  for (const control of [imageSelect, layerSelect, slider]) {
    control.addEventListener("change", keepPlace);
  }
  playButton.addEventListener("click", play);
  addEventListener("hashchange", goToPlace);
  addEventListener("resize", show);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
  goToPlace();
})();
