"use strict";
(() => {
  const data = JSON.parse(document.getElementById("browse-data").textContent);
  const part = (name) => document.getElementById(`browse-${name}`);
  const [imageSelect, layerSelect, playButton, slider, status] =
    ["image", "layer", "play", "step", "status"].map(part);
  const spiking = new Map();
  const outputs = new Map();
  const frames = Math.ceil(data.steps / data.frame);
  let timer = null;

  const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0)).buffer;

  // The last time step of a frame.
  const lastStep = (frame) => Math.min((frame + 1) * data.frame, data.steps) - 1;

  // Spikes of one image in one layer: the neurons that spike, where those of each frame begin among
  // them, how often they spike in it, the spikes of each frame, and the highest rate of a neuron at
  // the end of the image.
  function spikesOf(image, layer) {
    const key = `${image}/${layer}`;
    if (!spiking.has(key)) {
      const { name, wide } = data.layers[layer];
      const packed = data.images[image].spikes[name];
      const counts = new Uint32Array(bytes(packed.counts));
      const neurons = wide
        ? new Uint32Array(bytes(packed.neurons)) : new Uint16Array(bytes(packed.neurons));
      const times = packed.times === undefined
        ? new Uint16Array(neurons.length).fill(1) : new Uint16Array(bytes(packed.times));
      const begins = new Uint32Array(frames + 1);
      counts.forEach((count, frame) => { begins[frame + 1] = begins[frame] + count; });
      const spikes = Array.from(counts, (_, frame) => times
        .subarray(begins[frame], begins[frame + 1]).reduce((a, b) => a + b, 0));
      const totals = new Uint32Array(data.layers[layer].shape.reduce((a, b) => a * b));
      neurons.forEach((neuron, k) => { totals[neuron] += times[k]; });
      const highestRate = totals.reduce((a, b) => Math.max(a, b), 1) / data.steps;
      spiking.set(key, { neurons, times, begins, spikes, highestRate });
    }
    return spiking.get(key);
  }

  // What the class is read from, at the end of each frame; NaN before there is anything.
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

  function drawMaps(layer, image, frame) {
    const { shape } = data.layers[layer];
    const [abreast, maps, rows, columns] = arrangement(shape);
    const canvas = part("maps");
    canvas.width = abreast * (columns + 1) + 1;
    canvas.height = Math.ceil(maps / abreast) * (rows + 1) + 1;
    // few neurons are not drawn as large as many
    canvas.style.maxWidth = `${Math.max(160, 14 * canvas.width)}px`;
    const { neurons, times, begins, highestRate } = spikesOf(image, layer);
    const size = shape.reduce((a, b) => a * b);
    const decoded = new Float32Array(size);
    const { start } = data.layers[layer];
    // in a deep layer even the busiest neurons spike seldom
    const highest = data.worth ? 1 : highestRate;
    for (let k = 0, at = 0; at <= frame; at += 1) {
      for (; k < begins[at + 1]; k += 1) {
        if (data.worth) decoded[neurons[k]] += data.worth[at - start];
        else decoded[neurons[k]] += times[k] / (lastStep(frame) + 1) / highest;
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
    const shade = (value) => (
      value ? mixed(silent, most, 0.2 + 0.8 * Math.min(1, value)) : silent);
    for (let neuron = 0; neuron < size; neuron += 1) put(...place(neuron), shade(decoded[neuron]));
    for (let k = begins[frame]; k < begins[frame + 1]; k += 1) {
      // in a frame of many steps most neurons spike, and those that do so often stand out
      const rate = times[k] / (lastStep(frame) - frame * data.frame + 1);
      const share = data.frame === 1 ? 1 : Math.min(1, rate / highest);
      put(...place(neurons[k]), mixed(shade(decoded[neurons[k]]), now, share));
    }
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

  function drawTimeline(layer, image, frame) {
    const canvas = part("timeline");
    const scale = window.devicePixelRatio || 1;
    canvas.width = Math.max(1, Math.round(canvas.clientWidth * scale));
    canvas.height = Math.max(1, Math.round(canvas.clientHeight * scale));
    const context = canvas.getContext("2d");
    const { spikes } = spikesOf(image, layer);
    const most = Math.max(1, ...spikes);
    const width = canvas.width / frames;
    const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);
    spikes.forEach((count, at) => {
      const height = count ? Math.max(scale, (count / most) * canvas.height) : 0;
      context.fillStyle = css(at === frame ? "--series-1" : "--series-0");
      context.fillRect(at * width, canvas.height - height, Math.max(1, width - scale), height);
    });
    context.fillStyle = css("--series-1");
    context.fillRect(frame * width, 0, Math.max(1, scale), canvas.height);
  }

  function drawOutput(image, frame) {
    const { values, low, high } = outputOf(image);
    const size = data.classes.length;
    const now = Array.from(values.subarray(frame * size, (frame + 1) * size));
    const begun = !Number.isNaN(now[0]);
    const last = values.subarray((frames - 1) * size);
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
    const what = data.read_each_step ? "values decoded so far" : "potentials of the last layer";
    const mark = data.images[image].label === null ? "" : " (✓: label)";
    const leader = leads < 0 ? "none leads" : `${data.classes[leads]} leads`;
    part("output-text").textContent = begun
      ? `${what}; ${leader}${mark}` : `${what}: its input has not begun`;
  }

  function show() {
    const [image, layer, frame] = [imageSelect, layerSelect, slider].map((e) => Number(e.value));
    const { name, start } = data.layers[layer];
    const { spikes } = spikesOf(image, layer);
    const step = frame * data.frame;
    let when = data.frame === 1 ? `Time step ${step}` : `Time steps ${step} to ${lastStep(frame)}`;
    when += ` of 0 to ${data.steps - 1}`;
    if (data.pipelined) {
      const within = step - start;
      when += `, window ${Math.floor(step / data.window)}`;
      if (within >= 0 && within < data.window) when += ` (in which ${name} spikes)`;
    }
    const soFar = spikes.slice(0, frame + 1).reduce((a, b) => a + b, 0);
    const [now, all] = [spikes[frame], soFar].map((number) => number.toLocaleString("en"));
    status.textContent = `${when}: ${name} has ${now} spikes now, ${all} so far.`;
    slider.setAttribute("aria-valuetext", status.textContent);
    drawMaps(layer, image, frame);
    drawInput(image);
    drawTimeline(layer, image, frame);
    drawOutput(image, frame);
  }

  // The place is kept in the address, so that it can be sent to others.
  function keepPlace() {
    const place = new URLSearchParams({
      image: data.images[imageSelect.value].number,
      layer: data.layers[layerSelect.value].name,
      step: slider.value * data.frame,
    });
    history.replaceState(null, "", `#${place}`);
  }

  function goToPlace() {
    const place = new URLSearchParams(location.hash.slice(1));
    const image = data.images.findIndex(({ number }) => String(number) === place.get("image"));
    const layer = data.layers.findIndex(({ name }) => name === place.get("layer"));
    if (image >= 0) imageSelect.value = image;
    if (layer >= 0) layerSelect.value = layer;
    if (place.has("step")) slider.value = Math.floor(place.get("step") / data.frame);
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
    if (Number(slider.value) === frames - 1) slider.value = 0;
    playButton.textContent = "Pause";
    const slow = matchMedia("(prefers-reduced-motion: reduce)").matches;
    timer = setInterval(() => {
      slider.value = Number(slider.value) + 1;
      show();
      if (Number(slider.value) === frames - 1) stop();
    }, slow ? 800 : 160);
  }

  data.images.forEach(({ number, label }, k) => {
    const is = label === null ? "" : ` (${data.classes[label]})`;
    imageSelect.add(new Option(`${number}${is}`, k));
  });
  data.layers.forEach(({ name }, k) => layerSelect.add(new Option(name, k)));
  slider.max = frames - 1;
  part("key").textContent = data.worth
    ? "has spiked, the stronger the earlier" : "rate so far, the stronger the higher";
  document.getElementById("browser").hidden = false;
  // a layer of which there is something to see
  layerSelect.value = Math.min(1, data.layers.length - 1);
  const { spikes } = spikesOf(0, Number(layerSelect.value));
  slider.value = spikes.indexOf(Math.max(...spikes));

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
