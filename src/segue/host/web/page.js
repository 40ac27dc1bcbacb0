// The live page. Rules: what comes from a cluster is only ever text (textContent); an element that stays the same is
// left alone, so that focus and a screen reader's place survive; nothing is asked again and again, it is told.
"use strict";

const byId = (id) => document.getElementById(id);
const token = document.querySelector("meta[name=segue-token]").content;
const WORDS = {
  serving: "in traffic", ready: "Ready, no traffic", starting: "starting", draining: "draining, out of traffic",
  ending: "ending", ended: "ended",
};
const SURE = {
  abort: "Abort? What has been begun is taken back: the old version serves again.",
  undo: "Undo? The revision before this one is released.",
};
const HISTORY_S = 90;
const COLOURS = 6;
const colours = new Map(); // a version keeps its colour, whatever becomes of it
let history = [];
let heard = ""; // what was read out last, without its numbers
let shown = []; // the versions that were told last
let ended = 0; // the last command whose end was told

function put(node, text) {
  const value = text === null || text === undefined ? "" : String(text);
  if (node.textContent !== value) node.textContent = value;
}

function made(tag, kind, text) {
  const node = document.createElement(tag);
  if (kind) node.className = kind;
  if (text !== undefined) node.textContent = text;
  return node;
}

// Children of `parent`, one per row, by key; those that are there are kept and filled anew.
function rows(parent, list, keyOf, make, fill) {
  const present = new Map([...parent.children].map((node) => [node.dataset.key, node]));
  list.forEach((row, index) => {
    const key = String(keyOf(row, index));
    let node = present.get(key);
    present.delete(key);
    if (!node) {
      node = make(row);
      node.dataset.key = key;
    }
    fill(node, row);
    if (parent.children[index] !== node) parent.insertBefore(node, parent.children[index] || null);
  });
  for (const node of present.values()) node.remove();
}

function colourOf(version) {
  if (!colours.has(version)) colours.set(version, colours.size % COLOURS);
  return `c${colours.get(version)}`;
}

function sentence(text) {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}

function number(value) {
  return value === null || value === undefined ? "?" : String(value);
}

function show(said) {
  const link = byId("link");
  link.hidden = !said.trouble;
  put(link, said.trouble ? `The cluster cannot be read: ${said.trouble}` : "");
  if (said.workload) workload(said.workload);
  commands(said.commands || []);
}

function workload(one) {
  const release = one.release;
  put(byId("name"), `${one.kind} ${one.name}`);
  document.title = `${release ? "\u25cf " : ""}${one.name} - segue`;
  const state = byId("state");
  state.className = `verdict ${release ? "busy" : one.ready >= one.replicas ? "good" : ""}`;
  const pods = `${one.ready} of ${one.replicas} pods Ready`;
  put(state, release ? `${sentence(release.kind)}: ${release.phase}` : `Nothing is under way. ${pods}, version ${one.version || "?"}`);
  buttons(one.buttons);
  one.versions.forEach((each) => colourOf(each.version));
  byId("now").hidden = !release;
  if (release) {
    put(byId("waits"), release.waitsFor);
    const kind = release.waitsFor.replace(/\d[\d.]*/g, "#"); // seconds that count up are seen, and not read out
    if (kind !== heard) put(byId("heard"), release.waitsFor);
    heard = kind;
    put(byId("driven"), `${release.strategy}, begun ${new Date(1000 * release.since).toLocaleTimeString([], { hour12: false })}; ` +
      (release.drivenBy ? `driven by ${release.drivenBy}` : `nobody drives it: ${release.paused ? "resume" : "its command, resume or abort"} goes on`));
    rows(byId("due"), release.due, (row) => row.action, () => made("li"), (node, row) => step(node, row, "Due: "));
  }
  shown = one.versions;
  traffic(shown);
  rows(byId("lanes"), one.versions, (row) => row.version, lane, fillLane);
  rows(byId("services"), one.services, (row) => row, () => made("li"), (node, row) => put(node, row));
  steps(one, release);
}

function buttons(list) {
  rows(byId("buttons"), list, (row) => row.word, (row) => {
    const node = made("button", row.word === "abort" || row.word === "undo" ? "danger" : "",
      row.word[0].toUpperCase() + row.word.slice(1));
    node.type = "button";
    node.addEventListener("click", () => press(node, row.word));
    return node;
  }, (node, row) => {
    // Not `disabled`: whoever has the keyboard on it would lose their place, and could not hear why.
    node.setAttribute("aria-disabled", row.why ? "true" : "false");
    node.dataset.why = row.why || "";
    node.title = row.why || `segue ${row.word}`;
    if (row.why) node.setAttribute("aria-description", row.why);
    else node.removeAttribute("aria-description");
  });
}

async function press(node, word) {
  if (node.dataset.why) {
    put(byId("said"), `${word}: ${node.dataset.why}`);
    return;
  }
  if (SURE[word] && !(await sure(SURE[word]))) return;
  try {
    const answer = await fetch(`/do/${word}`, { method: "POST", headers: { "X-Segue-Token": token } });
    put(byId("said"), answer.ok ? `segue ${word} has begun` : `segue ${word}: ${(await answer.text()).trim()}`);
  } catch (error) {
    put(byId("said"), `segue ${word}: segue web does not answer`);
  }
}

function sure(text) {
  const dialog = byId("sure");
  put(byId("sure-text"), text);
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

function lane(row) {
  const node = made("div", "lane");
  const title = made("h3");
  title.append(made("span"), " ", made("small"));
  node.append(title, made("p", "note"), made("ul"));
  return node;
}

function fillLane(node, row) {
  node.className = `lane ${colourOf(row.version)}`;
  const title = { old: "Old", new: "New", only: "" }[row.role];
  node.dataset.version = row.version;
  put(node.querySelector("h3 span"), `${title ? `${title}: ` : ""}${row.version}`);
  put(node.querySelector("h3 small"), row.revision === null ? "" : `revision ${row.revision}`);
  put(node.querySelector("p"), `${row.images.join(", ")}${row.images.length ? "; " : ""}` +
    `${row.serving} of ${row.pods.length} pods in traffic, ${number(row.open)} connections`);
  rows(node.querySelector("ul"), row.pods, (pod) => pod.name, () => {
    const pod = made("li", "pod fresh");
    const dot = made("span", "dot");
    dot.setAttribute("aria-hidden", "true");
    pod.append(dot, made("b"), made("span", "figure"), made("span", "word"), made("span", "unit"),
      made("span", "trouble"));
    return pod;
  }, (pod, one) => {
    const kind = `pod ${one.phase}`;
    if (!pod.classList.contains(one.phase)) pod.className = pod.className.includes("fresh") ? `${kind} fresh` : kind;
    put(pod.querySelector("b"), one.name);
    put(pod.querySelector(".word"), WORDS[one.phase] || one.phase);
    put(pod.querySelector(".figure"), `${number(one.open)} open`);
    put(pod.querySelector(".unit"), one.arrivals === null ? "" : `${one.arrivals}/s`);
    const told = one.trouble || one.verdict;
    put(pod.querySelector(".trouble"), told || "");
    pod.querySelector(".trouble").hidden = !told;
    pod.querySelector(".trouble").classList.toggle("calm", !one.trouble);
  });
}

function traffic(versions) {
  const known = versions.filter((one) => one.arrivals !== null);
  const sum = known.reduce((all, one) => all + one.arrivals, 0);
  const share = byId("share");
  rows(share, sum ? known.filter((one) => one.arrivals > 0) : [{ version: "", role: "idle" }], (one) => one.version,
    () => made("span"), (node, one) => {
      node.className = sum ? colourOf(one.version) : "idle";
      node.style.flexGrow = sum ? String(one.arrivals) : "1";
      put(node, sum ? `${one.version}  ${Math.round((100 * one.arrivals) / sum)} %` :
        known.length ? "no new connections now" : "nobody can see the traffic of these pods");
    });
  share.setAttribute("aria-label", sum
    ? known.map((one) => `version ${one.version}: ${one.arrivals} new connections per second`).join("; ")
    : "no new connections");
  const now = performance.now() / 1000;
  history.push({ at: now, of: new Map(known.map((one) => [one.version, one.arrivals])) });
  history = history.filter((one) => one.at > now - HISTORY_S);
  chart(now);
}

function chart(now) {
  const svg = byId("chart");
  const versions = [...new Set(history.flatMap((one) => [...one.of.keys()]))];
  const most = Math.max(1, ...history.flatMap((one) => [...one.of.values()]));
  const space = "http://www.w3.org/2000/svg";
  const x = (at) => (600 * (1 - (now - at) / HISTORY_S)).toFixed(1);
  rows(svg, versions, (one) => one, () => document.createElementNS(space, "polyline"), (node, one) => {
    node.setAttribute("class", colourOf(one));
    let gone = false;
    const points = [];
    for (const row of history) {
      const value = row.of.get(one);
      if (value === undefined && (!points.length || gone)) continue;
      gone = value === undefined;
      points.push(`${x(row.at)},${(116 - (112 * (value || 0)) / most).toFixed(1)}`);
    }
    node.setAttribute("points", points.join(" "));
  });
  const told = `New connections per second by version, the last ${HISTORY_S} s; the top is ${most}.`;
  put(byId("chart-note"), told);
  svg.setAttribute("aria-label", told);
}

function step(node, row, before) {
  const words = [before + row.action, `because ${row.because}`, row.barrier ? `verified: ${row.barrier}` : ""];
  if (!node.children.length) node.append(made("span"), made("span", "why"), made("span", "why"));
  words.forEach((text, index) => put(node.children[index], text));
}

function steps(one, release) {
  rows(byId("steps"), one.steps, (row) => row.at + row.action, () => {
    const node = made("li", "fresh");
    node.append(made("time"), made("span"), made("span", "why"), made("span", "why"));
    return node;
  }, (node, row) => {
    const newer = one.steps[one.steps.indexOf(row) - 1];
    const told = newer && newer.because === row.because && newer.barrier === row.barrier;
    const at = new Date(row.at);
    put(node.children[0], at.toLocaleTimeString([], { hour12: false }));
    put(node.children[1], row.action);
    put(node.children[2], told ? "" : `because ${row.because}`);
    put(node.children[3], row.barrier && !told ? `verified: ${row.barrier}` : "");
  });
  const outline = release ? release.outline : [];
  byId("outline-box").hidden = !outline.length;
  rows(byId("outline"), outline, (row, index) => index, () => made("li"), (node, row) => put(node, row));
}

function commands(list) {
  byId("commands-box").hidden = !list.length;
  const over = list.find((one) => one.code !== null);
  if (over && over.number > ended) {
    ended = over.number;
    put(byId("said"), `segue ${over.word}: ${over.lines.at(-1) || (over.code === 0 ? "done" : `exit code ${over.code}`)}`);
  }
  rows(byId("commands"), list, (row) => row.number, () => {
    const node = made("div", "run");
    const text = made("pre");
    text.tabIndex = 0;
    node.append(made("p"), text);
    return node;
  }, (node, row) => {
    const end = row.code === null ? "runs" : row.code === 0 ? "done" : `ended with exit code ${row.code}`;
    put(node.children[0], `segue ${row.word}: ${end}`);
    node.children[1].setAttribute("aria-label", `what segue ${row.word} says`);
    put(node.children[1], row.lines.join("\n"));
  });
}

// Traffic that stays the same is not told again; the line goes on all the same.
setInterval(() => shown.length && !document.hidden && traffic(shown), 1000);

const source = new EventSource("/events");
source.addEventListener("message", (event) => show(JSON.parse(event.data)));
source.addEventListener("error", () => {
  byId("link").hidden = false;
  put(byId("link"), source.readyState === EventSource.CLOSED
    ? "segue web has ended, or this page may not be read any more. Open the address that it prints."
    : "The connection to segue web is lost; what you see is old. Trying again ...");
});
