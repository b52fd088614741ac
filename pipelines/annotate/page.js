"use strict";
const study = JSON.parse(document.getElementById("study").textContent);
const place = `viba ${study.study} ${study.annotator}`;
const find = (selector) => document.querySelector(selector);
const boxes = [...document.querySelectorAll('input[name="region"]')];
const nothing = find("#nothing");
const radios = [...document.querySelectorAll('input[name="confidence"]')];
const video = find("#clip");
const say = (text) => { find("#message").textContent = text; };

let state = { at: 0, answers: {} };
try {
  state = JSON.parse(localStorage.getItem(place)) ?? state;
} catch {
  say("This browser keeps nothing: download your answers before you close the page.");
}

function keep() {
  try {
    localStorage.setItem(place, JSON.stringify(state));
  } catch {
    say("This browser keeps nothing: download your answers before you close the page.");
  }
}

const urls = new Map();
function url(clip) {
  if (!urls.has(clip)) {
    const bytes = Uint8Array.from(atob(study.clips[clip]), (letter) => letter.charCodeAt(0));
    urls.set(clip, URL.createObjectURL(new Blob([bytes], { type: "video/mp4" })));
  }
  return urls.get(clip);
}

const complete = (answer) => Boolean(answer && (answer.nothing || answer.regions.length) && answer.confidence);
const n_complete = () => study.order.filter((_, index) => complete(state.answers[index])).length;

function draw() {
  const answer = state.answers[state.at] ?? { regions: [], nothing: false, confidence: null };
  for (const box of boxes) box.checked = answer.regions.includes(box.value);
  nothing.checked = answer.nothing;
  for (const radio of radios) radio.checked = Number(radio.value) === answer.confidence;
  for (const shape of document.querySelectorAll("[data-region]"))
    shape.classList.toggle("ticked", answer.regions.includes(shape.dataset.region));
  find("#progress").textContent = `Clip ${state.at + 1} of ${study.order.length}, ${n_complete()} answered`;
  find("#back").disabled = state.at === 0;
}

function show(at) {
  state.at = at;
  keep();
  video.src = url(study.order[at].clip);
  video.play().catch(() => {});
  draw();
}

function note() {
  state.answers[state.at] = {
    regions: boxes.filter((box) => box.checked).map((box) => box.value),
    nothing: nothing.checked,
    confidence: Number(radios.find((radio) => radio.checked)?.value) || null,
    answered_at: new Date().toISOString(),
  };
  say("");
  keep();
  draw();
}

function tick(box, checked) {
  box.checked = checked;
  if (checked) for (const other of box === nothing ? boxes : [nothing]) other.checked = false;
  note();
}

for (const box of [...boxes, nothing]) box.addEventListener("change", () => tick(box, box.checked));
for (const radio of radios) radio.addEventListener("change", note);
for (const shape of document.querySelectorAll("[data-region]"))
  shape.addEventListener("click", () => {
    const box = boxes.find((each) => each.value === shape.dataset.region);
    tick(box, !box.checked);
  });

find("#form").addEventListener("submit", (event) => {
  event.preventDefault();
  const answer = state.answers[state.at];
  if (!answer || !(answer.nothing || answer.regions.length)) {
    say("Tick a region, or that nothing is visible.");
    boxes[0].focus();
  } else if (!answer.confidence) {
    say("Say how sure you are.");
    radios[0].focus();
  } else if (state.at + 1 < study.order.length) {
    show(state.at + 1);
  } else {
    const open = study.order.findIndex((_, index) => !complete(state.answers[index]));
    if (open >= 0) show(open);
    say(open >= 0 ? "This clip has no answer yet." : "That was the last clip. Download your answers and send the file.");
  }
});
find("#back").addEventListener("click", () => { if (state.at) show(state.at - 1); });

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const box = event.key === "0" ? nothing : boxes[Number(event.key) - 1];
  if (box && event.key !== " ") {
    event.preventDefault();
    tick(box, !box.checked);
  } else if (event.key.toLowerCase() === "p") {
    find("#back").click();
  } else if (event.key === "Enter" && event.target === document.body) {
    find("#form").requestSubmit();
  } else if (event.key === " " && event.target === document.body) {
    event.preventDefault();
    if (video.paused) video.play().catch(() => {});
    else video.pause();
  }
});

function rows() {
  return study.order
    .map((item, index) => [item, state.answers[index]])
    .filter(([, answer]) => complete(answer))
    .map(([item, answer]) => ({
      annotator: study.annotator,
      video: item.clip,
      showing: item.showing,
      regions: answer.nothing ? ["nothing"] : answer.regions,
      confidence: answer.confidence,
      answered_at: answer.answered_at,
    }));
}

function download(kind, type, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = `${study.annotator}.${kind}`;
  link.click();
}

find("#json").addEventListener("click", () =>
  download("json", "application/json", JSON.stringify({ viba: "annotations", answers: rows() }, null, 1)));
find("#csv").addEventListener("click", () => {
  const names = ["annotator", "video", "showing", "regions", "confidence", "answered_at"];
  const quoted = (value) => `"${String(value).replaceAll('"', '""')}"`;
  const lines = rows().map((row) =>
    names.map((name) => quoted(name === "regions" ? row.regions.join(";") : row[name])).join(","));
  download("csv", "text/csv", `${[names.join(","), ...lines].join("\n")}\n`);
});

show(Math.min(state.at, study.order.length - 1));
