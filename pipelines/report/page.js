"use strict";
const $ = (id) => document.getElementById(id);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const on = (target, name, act) => target.addEventListener(name, act);
const make = (name, told) => Object.assign(document.createElement(name), told);
const makeButton = (textContent, onclick, told) => make("button", { type: "button", textContent, onclick, ...told });

// ---- tables: a heading sorts, numbers by value, what is missing last
for (const table of all("table")) {
  const heads = all("th", table);
  heads.forEach((head, column) => head.replaceChildren(makeButton(head.textContent, () => sortTable(table, heads, column))));
}

function sortTable(table, heads, column) {
  const head = heads[column];
  const way = head.ariaSort === "ascending" ? "descending" : "ascending";
  heads.forEach((each) => (each.ariaSort = each === head ? way : null));
  const number = head.classList.contains("n");
  const body = table.tBodies[0];
  body.append(...[...body.rows].sort((a, b) => {
    const [x, y] = [a, b].map((row) => row.cells[column].dataset.v);
    if (x === undefined || y === undefined) return (x === undefined) - (y === undefined);
    return (number ? x - y : x.localeCompare(y)) * (way === "ascending" ? 1 : -1);
  }));
  $("live").textContent = `Sorted by ${head.textContent}, ${way}`;
}

// ---- commands are copied by a button
for (const line of all(".shell")) {
  const [code] = line.children;
  line.append(makeButton("Copy", async ({ target }) => {
    try {
      await navigator.clipboard.writeText(code.textContent);
      target.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code);
      target.textContent = "Selected";
    }
  }));
}
if (matchMedia("(max-width: 46rem)").matches) $("contents").open = false;
on(window, "beforeprint", () => {
  all("details").forEach((each) => (each.open = true));
  all(".card").forEach((each) => (each.hidden = false));
});
on(window, "afterprint", () => cards.length && list(true));

// ---- gallery
const { render, videos } = JSON.parse($("data").textContent);
const STEP = 24;
const cards = videos.map((video, number) => ({ video, element: $(`card-${number}`), number }));
let visible = 12;
let shownCards = cards;

function startGallery() {
  const models = [...new Set(videos.flatMap((video) => Object.keys(video.models)))];
  $("model").append(...models.map((model) => new Option(model, model)));
  $("tools").hidden = !cards.length;
  for (const card of cards) {
    const acts = make("div", { className: "acts" });
    const label = make("label");
    card.open = makeButton("Open", () => openVideo(card), { className: "opens", ariaLabel: `Open ${card.video.name}` });
    card.box = make("input", { type: "checkbox", onchange: choose });
    label.append(card.box, " choose");
    acts.append(card.open, label);
    card.element.append(acts);
  }
  for (const id of ["model", "verdict", "sort"]) on($(id), "change", () => list());
  on($("find"), "input", () => list());
  on($("tools"), "submit", (event) => event.preventDefault());
  on($("more"), "click", () => { visible += STEP; list(true); });
  on($("pick"), "click", () => {
    const checked = shownCards.some((card) => !card.box.checked);
    for (const card of shownCards) card.box.checked = checked;
    choose();
  });
  list();
  on(window, "hashchange", follow);
  follow();
}

function list(keep = false) {
  if (!keep) visible = 12;
  const model = $("model").value;
  const words = $("find").value.trim().toLowerCase().split(/\s+/).filter(Boolean);
  const says = (card) => card.video.models[model] ?? {};
  shownCards = cards.filter((card) => {
    const said = says(card);
    const verdict = said.is_right === true ? "right" : said.is_right === false ? "wrong" : "unknown";
    const text = [card.video.name, card.video.id, card.video.dataset, card.video.label, said.said, verdict].join(" ").toLowerCase();
    return (!$("verdict").value || $("verdict").value === verdict) && words.every((word) => text.includes(word));
  });
  // of what goes from the largest down the name has a minus before it; what is not known is last
  const [, minus, by] = $("sort").value.match(/(-?)(.*)/);
  const place = (card) => {
    const value = says(card)[by] ?? null;
    return value === null ? Infinity : minus ? -value : value;
  };
  if (by) shownCards.sort((a, b) => place(a) - place(b) || a.number - b.number);
  const now = shownCards.slice(0, visible);
  cards.forEach((card) => (card.element.hidden = !now.includes(card)));
  document.querySelector(".cards").append(...shownCards.map((card) => card.element));
  $("more").hidden = shownCards.length <= visible;
  $("count").textContent = `${now.length} of ${shownCards.length} videos shown`;
}

function choose() {
  const quote = (text) => `"${String(text ?? "").replace(/^(?=[=+\-@\t\r])/, "'").replaceAll('"', '""')}"`;
  const chosen = cards.filter((card) => card.box.checked);
  const columns = ["video_id", "uri", "dataset", "label", "split"];
  const rows = chosen.map(({ video }) => columns.map((name) => quote(video[name === "video_id" ? "id" : name])).join(","));
  const link = $("chosen");
  link.hidden = !chosen.length;
  link.textContent = `Download ${chosen.length} chosen as CSV`;
  link.href = "data:text/csv;charset=utf-8," + encodeURIComponent([columns.join(","), ...rows].join("\n") + "\n");
}

// ---- one video, opened
const FACETS = ["model", "method", "layer", "target"];
let shown = null; // {card, bytes, urls, series, k}
let tick = 0;

const decode = (text) => Uint8Array.from(atob(text.trim()), (letter) => letter.charCodeAt(0));

// maps that lie in a file beside the page come as a script, which calls viba()
const waiting = new Map();
globalThis.viba = (number, text) => waiting.get(number)(text);
const beside = (number, src) => new Promise((done, failed) => {
  waiting.set(number, done);
  const onerror = () => failed(new Error(`${src} does not lie beside this page`));
  document.head.append(make("script", { src, onerror, onload: ({ target }) => target.remove() }));
});

async function unpack(card) {
  const maps = card.element.querySelector(".maps");
  const text = maps.dataset.src ? await beside(card.number, maps.dataset.src) : maps.textContent;
  const zipped = new Blob([decode(text)]);
  const plain = zipped.stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(plain).arrayBuffer());
}

async function openVideo(card, want = {}) {
  if (shown) closeVideo();
  const video = card.video;
  const clips = all(".clip", card.element);
  let bytes;
  try { bytes = await unpack(card); } catch (error) { alert(error.message); return; }
  const urls = clips.map((clip) => clip.dataset.src || URL.createObjectURL(new Blob([decode(clip.textContent)], { type: "video/mp4" })));
  const first = video.frames.findIndex((each) => each.frame === want.f);
  shown = { card, bytes, urls, k: Math.max(0, first), view: -1, series: null };
  $("title").textContent = video.name;
  $("seek").max = video.frames.length - 1;
  $("play").hidden = !urls.length || video.frames.length < 2;
  $("outline").parentElement.hidden = !video.truth.length;
  $("render").textContent = `${render} ${video.id}`;
  const model = $("model").value;
  const wanted = { model: model in video.models ? model : undefined, ...want };
  select(best(video.series, wanted));
  $("player").showModal();
  $("title").focus();
  cancelAnimationFrame(tick);
  follow_clip();
}

// the series that shares the most of what is wanted, the first facets first
function best(series, wanted) {
  const score = (each) => FACETS.reduce((sum, facet, place) => sum + (each[facet] === wanted[facet] ? 8 >> place : 0), 0);
  return series.reduce((a, b) => (score(b) > score(a) ? b : a));
}

function select(series) {
  const video = shown.card.video;
  shown.series = series;
  const says = video.models[series.model] ?? {};
  $("said").textContent =
    `${video.label ? `Labelled ${video.label}` : "No label"}; ${series.model} says ${says.said ?? "nothing"}` +
    (says.sure == null ? "" : ` with ${says.sure.toFixed(2)}`);
  FACETS.forEach((facet, place) => {
    const fixed = FACETS.slice(0, place);
    const same = video.series.filter((each) => fixed.every((name) => each[name] === series[name]));
    const values = [...new Set(same.map((each) => each[facet]))];
    const buttons = values.map((value) => {
      return makeButton(value || (facet === "target" ? "the one explained" : "whole network"), () => {
        select(best(same.filter((each) => each[facet] === value), series));
        $(`by-${facet}`).querySelector("[aria-pressed=true]").focus();
      }, { ariaPressed: value === series[facet] });
    });
    $(`by-${facet}`).replaceChildren(...buttons);
  });
  if (series.view !== shown.view && shown.urls.length) {
    shown.view = series.view;
    $("clip").src = shown.urls[series.view];
  }
  $("clip").hidden = !shown.urls.length;
  colourSeek();
  step(shown.k);
}

const mapAt = (k) => shown.series.maps.find((map) => map.k === k);
const cells = (map) => shown.bytes.subarray(map.at, map.at + map.h * map.w);

// the slider's own track: where its thumb stands is the mean heat of that keyframe
function colourSeek() {
  const means = shown.card.video.frames.map((_, k) => {
    const map = mapAt(k);
    return !map || map.empty ? 0 : cells(map).reduce((a, b) => a + b, 0) / (map.h * map.w);
  });
  const top = Math.max(...means) || 1;
  const end = (k) => `${(100 * k) / (means.length - 1 || 1)}%`;
  const stops = means.map((mean, k) => `rgb(${palette(mean / top).join(" ")}) ${end(k - 0.5)} ${end(k + 0.5)}`);
  $("seek").style.backgroundImage = `linear-gradient(to right, ${stops.join(", ")})`;
}

function step(k) {
  const n = shown.card.video.frames.length;
  shown.k = (k + n) % n;
  const clip = $("clip");
  if (shown.urls.length) clip.currentTime = (shown.k + 0.5) / shown.card.video.fps;
  paint();
  const frame = shown.card.video.frames[shown.k].frame;
  const told = { v: shown.card.video.id, f: frame, ...Object.fromEntries(FACETS.map((name) => [name, shown.series[name]])) };
  history.replaceState(null, "", "#" + new URLSearchParams(told));
}

// five colours of cividis' dark to light, brighter where there is more
const COLOURS = [[0, 34, 78], [87, 93, 109], [165, 156, 116], [232, 203, 75], [255, 234, 70]];
function palette(value) {
  const at = Math.min(Math.max(value, 0), 1) * (COLOURS.length - 1);
  const low = Math.min(Math.floor(at), COLOURS.length - 2);
  return COLOURS[low].map((from, i) => Math.round(from + (at - low) * (COLOURS[low + 1][i] - from)));
}

function paint() {
  const { card, series, k } = shown;
  const canvas = $("heat");
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  const map = mapAt(k);
  const poster = card.element.querySelector("img");
  $("still").hidden = shown.urls.length > 0 || !poster || k !== 0 || series.view !== 0;
  if (!$("still").hidden) $("still").src = poster.src;
  document.querySelector(".stage").classList.toggle("empty", Boolean(map?.empty));
  $("seek").value = k;
  const frame = card.video.frames[k];
  const bits = map?.bits == null ? "" : `, ${map.bits} bits in all`;
  const says = !map
    ? "no map of this method"
    : map.empty
      ? `empty map: nothing was needed for ${map.target}${bits}${map.why ? "; " + map.why : ""}`
      : `explains ${map.target}, probability ${map.p.toFixed(2)}${bits}${map.cell ? `, by what it sees in ${map.cell}` : ""}`;
  $("where").textContent = `Keyframe ${k + 1} of ${card.video.frames.length}, frame ${frame.frame}, ${frame.time.toFixed(2)} s: ${says}`;
  $("seek").setAttribute("aria-valuetext", $("where").textContent);
  if (map && !map.empty) heat(context, canvas, map);
  const top = map && !map.empty ? (series.top * brightest(map)) / 255 : series.top;
  const scale = $("own").value ? "a scale of this map's own: compare no two of them" : "one scale for all maps of the run by this method";
  $("scale").textContent = `Brightest: ${Number(top.toPrecision(3))} ${series.unit}, ${scale}`;
  const truth = card.video.truth.find((each) => each.k === k);
  if (truth && series.outlined && $("outline").checked) outline(context, canvas, truth);
}

// the level that is drawn brightest: the method's, or the map's own
const brightest = (map) => ($("own").value && Math.max(...cells(map))) || 255;

function heat(context, canvas, map) {
  const small = new OffscreenCanvas(map.w, map.h);
  const image = new ImageData(map.w, map.h);
  const [opacity, threshold] = [Number($("opacity").value), Number($("threshold").value)];
  const most = brightest(map);
  cells(map).forEach((level, i) => {
    const value = level / most;
    const alpha = value < threshold ? 0 : 255 * opacity * value;
    image.data.set([...palette(value), alpha], 4 * i);
  });
  small.getContext("2d").putImageData(image, 0, 0);
  context.drawImage(small, 0, 0, canvas.width, canvas.height);
}

function outline(context, canvas, truth) {
  const mask = cells(truth);
  const inside = (x, y) => x >= 0 && y >= 0 && x < truth.w && y < truth.h && mask[y * truth.w + x] >= 128;
  const [sx, sy] = [canvas.width / truth.w, canvas.height / truth.h];
  context.beginPath();
  for (let y = 0; y <= truth.h; y++) {
    for (let x = 0; x <= truth.w; x++) {
      if (inside(x, y) !== inside(x - 1, y)) { context.moveTo(x * sx, y * sy); context.lineTo(x * sx, (y + 1) * sy); }
      if (inside(x, y) !== inside(x, y - 1)) { context.moveTo(x * sx, y * sy); context.lineTo((x + 1) * sx, y * sy); }
    }
  }
  for (const [colour, width] of [["#000", 5], ["#fff", 2.5]]) {
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.stroke();
  }
}

// while the clip plays, heat changes with its keyframe
function follow_clip() {
  const clip = $("clip");
  if (!shown) return;
  if (!clip.paused) {
    const k = Math.min(Math.floor(clip.currentTime * shown.card.video.fps), shown.card.video.frames.length - 1);
    if (k !== shown.k) { shown.k = k; paint(); }
  }
  tick = requestAnimationFrame(follow_clip);
}

function play() {
  const clip = $("clip");
  if (!shown.urls.length) return;
  if (clip.paused) clip.play().catch(() => {});
  else pauseAt(shown.k);
}

function pauseAt(k) {
  $("clip").pause();
  step(k);
}

function closeVideo() {
  cancelAnimationFrame(tick);
  $("clip").pause();
  $("clip").removeAttribute("src");
  shown.urls.forEach((url) => URL.revokeObjectURL(url));
  const { card } = shown;
  shown = null;
  history.replaceState(null, "", "#gallery");
  card.element.hidden = false; // a link may have opened one that is further down
  card.open.focus();
}

// #v=ID&f=FRAME&method=... opens a video; other links are the browser's
function follow() {
  const want = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  const card = cards.find((each) => each.video.id === want.v);
  if (card) openVideo(card, { ...want, f: Number(want.f) });
  else if (want.v) {
    $("count").textContent = `The video ${want.v} of this link is not among those on the page`;
    $("count").scrollIntoView();
  }
}

if ($("player")) {
  on($("player"), "close", () => shown && closeVideo());
  on($("close"), "click", () => $("player").close());
  on($("play"), "click", play);
  for (const name of ["play", "pause", "emptied"])
    on($("clip"), name, ({ target }) => {
      $("play").textContent = target.paused ? "Play" : "Pause";
      $("where").ariaLive = target.paused ? "polite" : "off";
    });
  on($("seek"), "input", () => pauseAt(Number($("seek").value)));
  for (const id of ["opacity", "threshold", "outline"]) on($(id), "input", paint);
  on($("own"), "change", paint);
  startGallery();
}

on(window, "keydown", (event) => {
  const typing = event.target.matches?.("input, select, textarea");
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (shown) {
    if (event.key === " " && !typing && !event.target.matches("button")) { event.preventDefault(); play(); }
    if (typing) return;
    const way = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (way) pauseAt(shown.k + way);
    return;
  }
  if (typing || !cards.length) return;
  if (event.key === "/") { event.preventDefault(); $("find").focus(); }
  if (event.key === "j" || event.key === "k") {
    const opens = shownCards.slice(0, visible).map((card) => card.open);
    const at = opens.indexOf(document.activeElement);
    opens[Math.min(Math.max(at + (event.key === "j" ? 1 : -1), 0), opens.length - 1)]?.focus();
  }
});
