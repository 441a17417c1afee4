"use strict";
// Polls /status and shows its content. Everything in the response is inserted into the page as
// text, never as markup. The explanations of reasons are part of /status.

const PERIOD = 2000; // milliseconds from a response to the next request
const MAX_PERIOD = 10000; // after a request that failed
const TIMEOUT = 10000;
const MAX_ROWS = 200; // rows of the table until the button is pressed
const MAX_REASONS = 6; // checks named below the verdict
const HISTORY = 60; // results in a history strip
const SVG = "http://www.w3.org/2000/svg";

// Each kind has its own shape, for readers who cannot distinguish the colors.
const KINDS = {
  good: { // a disc with a tick
    shape: "M10 1a9 9 0 1 0 .01 0z",
    sign: "M5.5 10.5l3 3 6-6.5",
    colour: "#1b6e43",
  },
  bad: { // an octagon with a cross
    shape: "M6.3 1h7.4L19 6.3v7.4L13.7 19H6.3L1 13.7V6.3z",
    sign: "M6.5 6.5l7 7m0-7l-7 7",
    colour: "#b3261e",
  },
  unsure: { // a diamond with an exclamation mark
    shape: "M10 .5l9.5 9.5-9.5 9.5L.5 10z",
    sign: "M10 5.5v5.5m0 2.2v1.8",
    colour: "#805300",
  },
};

// ---- Elements

function byId(id) {
  return document.getElementById(id);
}

function element(name, properties = {}, ...children) {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children);
  return node;
}

function svgElement(name, attributes, ...children) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) {
    node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}

function quiet(text) {
  return element("span", { className: "quiet" }, text);
}

// Unchanged text is not written, because that would clear the reader's selection.
function setText(node, text) {
  if (node.textContent !== text) {
    node.textContent = text;
  }
}

function symbol(kind) {
  const { shape, sign } = KINDS[kind];
  const outline = svgElement("path", { d: shape, fill: "currentColor" });
  const line = svgElement("path", {
    "d": sign,
    "fill": "none",
    "stroke": "var(--ground)",
    "stroke-width": 2.2,
    "stroke-linecap": "round",
  });
  const attributes = { "viewBox": "0 0 20 20", "class": `symbol ${kind}`, "aria-hidden": "true" };
  return svgElement("svg", attributes, outline, line);
}

function setIcon(kind) {
  const { shape, sign, colour } = KINDS[kind];
  const svg = svgElement(
    "svg",
    { viewBox: "0 0 20 20" },
    svgElement("path", { d: shape, fill: colour }),
    svgElement("path", { "d": sign, "fill": "none", "stroke": "#fff", "stroke-width": 2.2 }),
  );
  const text = new XMLSerializer().serializeToString(svg);
  document.querySelector("link[rel=icon]").href = `data:image/svg+xml,${encodeURIComponent(text)}`;
}

// ---- Numbers and times

function formatNumber(number) {
  return number.toLocaleString("en");
}

function formatCount(number, noun) {
  return `${formatNumber(number)} ${noun}${number === 1 ? "" : "s"}`;
}

function formatPeriod(seconds) {
  if (seconds < 1) {
    return `${(seconds * 1000).toPrecision(2).replace(/\.0$/, "")} ms`;
  }
  if (seconds < 60) {
    return `${Math.floor(seconds)} s`;
  }
  const minutes = Math.floor(seconds / 60);
  const hours = Math.floor(minutes / 60);
  const days = Math.floor(hours / 24);
  if (hours < 1) {
    return `${minutes} min`;
  }
  return days < 1 ? `${hours} h ${minutes % 60} min` : `${days} d ${hours % 24} h`;
}

function formatDuration(seconds) {
  const milliseconds = seconds * 1000;
  if (milliseconds >= 1000) {
    return `${seconds.toFixed(1)} s`;
  }
  return `${milliseconds.toFixed(milliseconds < 10 ? 1 : 0)} ms`;
}

function formatAge(seconds) {
  return seconds < 1 ? "now" : `${formatPeriod(seconds)} ago`;
}

function formatTime(date) {
  const time = date.toLocaleTimeString([], {
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    hour12: false,
  });
  if (date.toDateString() === new Date().toDateString()) {
    return time;
  }
  return `${date.toLocaleDateString([], { day: "numeric", month: "short" })}, ${time}`;
}

function formatTimeBefore(now, seconds) {
  return formatTime(new Date(now - seconds * 1000));
}

// ---- The verdict

function verdictOf(report) {
  const live = report.checks.find((check) => check.probe === "liveness");
  if (report.draining) {
    return ["unsure", "Draining"];
  }
  if (live.status === "UNKNOWN") {
    return ["unsure", "Not known yet"];
  }
  if (!report.endpoints.healthz.passing) {
    return ["bad", "Server not live"];
  }
  return report.endpoints.readyz.passing ? ["good", "Ready"] : ["bad", "Not ready"];
}

function modelsSentence({ required, ready, needed }) {
  if (required === 0) {
    return "No model is required.";
  }
  const counts = `${formatNumber(ready)} of ${formatCount(required, "required model")} ready`;
  return needed === required ? `${counts}.` : `${counts}, ${formatNumber(needed)} needed.`;
}

function trafficSentence(report) {
  if (report.draining) {
    return "This sidecar is stopping: /readyz fails until it has ended.";
  }
  const traffic = report.endpoints.readyz.passing ? "may be sent" : "is kept away";
  return `Traffic ${traffic}. ${modelsSentence(report.models)}`;
}

function reasonItem({ check, reason }, report) {
  const state = report.checks.find((one) => one.probe === "readiness" && one.name === check);
  return element(
    "li",
    {},
    symbol(state ? kindOf(state) : "bad"),
    " ",
    element("strong", {}, check),
    " ",
    element("code", {}, reason),
    quiet(` ${report.meanings[reason] ?? ""}`),
  );
}

function reasonParagraphs(report) {
  const { passing, failing, because } = report.endpoints.readyz;
  const checks = because.filter(({ check }) => check !== "drain");
  const count = failing - (because.length - checks.length);
  const paragraphs = [element("p", {}, trafficSentence(report))];
  if (count === 0) {
    return paragraphs;
  }
  if (passing) {
    const text = "Failing, but allowed by the policy:";
    paragraphs.push(element("p", { className: "quiet" }, text));
  }
  const shown = checks.slice(0, MAX_REASONS);
  paragraphs.push(element("ul", {}, ...shown.map((one) => reasonItem(one, report))));
  if (count > shown.length) {
    const text = `and ${formatNumber(count - shown.length)} more, below`;
    paragraphs.push(element("p", { className: "quiet" }, text));
  }
  return paragraphs;
}

let shownVerdict = null;
let shownReasons = null;

// `key` changes when the result of `makeParagraphs` changes.
function showVerdict(kind, words, key, makeParagraphs) {
  if (key !== shownReasons) {
    shownReasons = key;
    byId("reasons").replaceChildren(...makeParagraphs());
  }
  if (words === shownVerdict) {
    return;
  }
  byId("verdict").replaceChildren(symbol(kind), element("span", { className: kind }, words));
  // A screen reader announces changes, but not the first verdict.
  if (shownVerdict !== null) {
    byId("announcement").textContent = words;
  }
  shownVerdict = words;
  document.title = `${words} – ${byId("server").textContent}`;
  setIcon(kind);
}

// ---- The endpoints and the sidecar

function endpointItem(name) {
  const link = element("a", { href: `${name}?verbose` }, element("code", {}, `/${name}`));
  const parts = { symbol: element("span"), result: element("span"), meaning: quiet("") };
  parts.node = element("li", {}, parts.symbol, " ", link, " ", parts.result, parts.meaning);
  return parts;
}

const endpointItems = new Map();

function showEndpoints(report) {
  for (const [name, { passing, meaning }] of Object.entries(report.endpoints)) {
    if (!endpointItems.has(name)) {
      endpointItems.set(name, endpointItem(name));
      byId("endpoints").append(endpointItems.get(name).node);
    }
    const item = endpointItems.get(name);
    if (item.passing !== passing) {
      const kind = passing ? "good" : "bad";
      item.passing = passing;
      item.symbol.replaceChildren(symbol(kind));
      item.result.className = kind;
      setText(item.result, passing ? "passes" : "fails");
    }
    setText(item.meaning, meaning);
  }
}

function serverText({ name, version }) {
  return name === "unknown" ? "not known" : `${name} ${version}`.trim();
}

function showSidecar(report) {
  const { successful, settings_age_seconds: age } = report.reload;
  const refused = successful ? "" : "; newer ones were refused, and the log says why";
  const facts = [
    ["Inference server", serverText(report.server)],
    ["Version", report.version],
    ["Running for", formatPeriod(report.uptime_seconds)],
    ["Settings", `loaded ${formatAge(age)}${refused}`],
    ["Drain", report.draining ? "in progress: the sidecar is stopping" : "no"],
  ];
  const list = byId("sidecar");
  if (!list.children.length) {
    list.append(...facts.flatMap(([name]) => [element("dt", {}, name), element("dd")]));
  }
  const values = list.querySelectorAll("dd");
  facts.forEach(([, text], place) => setText(values[place], text));
}

// ---- One check

function isFailing(check) {
  return check.status !== "SERVING" || check.answer_stale;
}

function kindOf(check) {
  if (check.status === "NOT_SERVING") {
    return "bad";
  }
  return isFailing(check) ? "unsure" : "good";
}

function statusText(check) {
  const text = check.status.toLowerCase().replace("_", " ");
  if (!check.answer_stale) {
    return text;
  }
  return check.status === "SERVING" ? "stale" : `${text} (stale)`;
}

// Failing checks first, gating ones before others; then those whose last result failed.
function urgency(check) {
  const kind = kindOf(check);
  if (kind === "good") {
    return check.answer === "ok" ? 5 : 4;
  }
  return (kind === "bad" ? 0 : 2) + (check.required ? 0 : 1);
}

// For a canary, the height of a success is its duration relative to the longest.
function stripPaths(history, durations) {
  let passed = "";
  let failed = "";
  const first = HISTORY - history.length;
  const longest = Math.max(...durations.filter((duration, place) => history[place] === "."));
  [...history].forEach((letter, place) => {
    const x = (first + place) * 4 + 2;
    if (letter === ".") {
      const height = durations.length ? 2 + 12 * (durations[place] / longest) : 8;
      passed += `M${x} 23v-${height.toFixed(1)}`;
    } else {
      failed += `M${x} 23v-22`;
    }
  });
  return { passed, failed };
}

function stripLabel(history, durations, letters) {
  const counts = new Map();
  for (const letter of history.replaceAll(".", "")) {
    const reason = letters[letter];
    counts.set(reason, (counts.get(reason) ?? 0) + 1);
  }
  const failures = [...counts].map(([reason, times]) => `${times} ${reason}`);
  const label = `Of the last ${history.length} answers ${failures.join(", ") || "none failed"}`;
  if (!durations.length) {
    return label;
  }
  const [shortest, longest] = [Math.min(...durations), Math.max(...durations)];
  return `${label}; they took ${formatDuration(shortest)} to ${formatDuration(longest)}`;
}

// The roles keep the table semantics in the layout for phones, which is not a table.
function cell(label, ...children) {
  const node = element("td", {}, ...children);
  node.setAttribute("role", "cell");
  if (label) {
    node.dataset.label = label;
  }
  return node;
}

function newStrip() {
  const parts = {
    passed: svgElement("path", { class: "passed" }),
    failed: svgElement("path", { class: "failed" }),
  };
  const attributes = {
    class: "strip",
    viewBox: `0 0 ${HISTORY * 4} 24`,
    preserveAspectRatio: "none",
    role: "img",
  };
  const base = svgElement("path", { class: "base", d: `M0 23.5h${HISTORY * 4}` });
  parts.title = svgElement("title", {});
  parts.node = svgElement("svg", attributes, parts.title, base, parts.passed, parts.failed);
  return parts;
}

function newFailures() {
  const parts = { summary: element("summary"), list: element("ul") };
  parts.node = element("details", { hidden: true }, parts.summary, parts.list);
  return parts;
}

function newRow(check) {
  const row = {
    remark: element("small"),
    status: element("span"),
    reason: element("code"),
    period: element("span"),
    since: element("small"),
    answer: element("code"),
    answered: element("small"),
    strip: newStrip(),
    failures: newFailures(),
    shown: {}, // the data from which the parts were created
  };
  const head = element("th", { scope: "row" }, check.name, row.remark);
  head.setAttribute("role", "rowheader");
  row.node = element(
    "tr",
    {},
    head,
    cell("", row.status),
    cell("Reason", row.reason),
    cell("For", row.period, " ", row.since),
    cell("Last answer", row.answer, " ", row.answered),
    cell("", row.strip.node, row.failures.node),
  );
  row.node.setAttribute("role", "row");
  return row;
}

function fillStatus(row, check) {
  const kind = kindOf(check);
  const text = statusText(check);
  const { status } = row.shown;
  if (status === kind + text) {
    return;
  }
  row.status.replaceChildren(symbol(kind), " ", element("span", { className: kind }, text));
  row.node.classList.remove("changed");
  if (status !== undefined) {
    void row.node.offsetWidth; // the animation restarts only after a layout without it
    row.node.classList.add("changed");
  }
  row.shown.status = kind + text;
}

function fillPeriod(row, check, now) {
  const { statusValue, seconds } = row.shown;
  setText(row.period, formatPeriod(check.status_seconds));
  // Computed once per status, because the clocks of browser and sidecar differ by milliseconds.
  if (statusValue !== check.status || check.status_seconds < seconds) {
    setText(row.since, `since ${formatTimeBefore(now, check.status_seconds)}`);
  }
  row.shown.statusValue = check.status;
  row.shown.seconds = check.status_seconds;
}

function fillAnswer(row, check) {
  setText(row.answer, check.answer ?? "none yet");
  if (check.answer !== null) {
    const duration = formatDuration(check.answer_duration_seconds);
    setText(row.answered, `in ${duration}, ${formatAge(check.answer_age_seconds)}`);
  }
}

function fillStrip(row, { history, canary }, letters) {
  const durations = canary?.durations_seconds ?? [];
  const key = history + durations.join();
  if (row.shown.strip === key) {
    return;
  }
  row.shown.strip = key;
  const { passed, failed } = stripPaths(history, durations);
  row.strip.passed.setAttribute("d", passed);
  row.strip.failed.setAttribute("d", failed);
  const label = stripLabel(history, durations, letters);
  row.strip.node.setAttribute("aria-label", label);
  setText(row.strip.title, label);
}

function failureItem(failure, now) {
  const last = formatTimeBefore(now, failure.last_age_seconds);
  const first = formatTimeBefore(now, failure.first_age_seconds);
  const times = formatNumber(failure.times);
  const text = failure.times === 1 ? ` once, ${last}` : ` ${times} times, ${first} to ${last}`;
  const duration = `; took ${formatDuration(failure.duration_seconds)}`;
  return element("li", {}, element("code", {}, failure.answer), text, duration);
}

function fillFailures(row, { failures }, now) {
  const { node, summary, list } = row.failures;
  const [latestFailure] = failures;
  node.hidden = latestFailure === undefined;
  if (node.hidden) {
    return;
  }
  setText(summary, `Last failed ${formatAge(latestFailure.last_age_seconds)}`);
  const key = JSON.stringify([failures.length, latestFailure.answer, latestFailure.times]);
  if (row.shown.failures !== key) {
    row.shown.failures = key;
    list.replaceChildren(...failures.map((failure) => failureItem(failure, now)));
  }
}

function canaryRemark({ configured, pending_seconds: pending, skipped }) {
  if (!configured) {
    return "unconfigured: no request is known that the model accepts";
  }
  if (pending >= 1) {
    return `has waited for a reply for ${formatPeriod(pending)}`;
  }
  return skipped ? `not sent ${formatCount(skipped, "time")}: other requests succeeded` : "";
}

function remarkOn(check) {
  if (check.name === "server-live") {
    return `for ${check.probe}`; // each of its two probes has a row
  }
  const remark = check.canary ? canaryRemark(check.canary) : "";
  if (remark) {
    return remark;
  }
  return check.required ? "" : "does not gate /readyz";
}

function fillRow(row, check, letters, now) {
  setText(row.remark, remarkOn(check));
  fillStatus(row, check);
  setText(row.reason, check.reason ?? "none yet");
  fillPeriod(row, check, now);
  fillAnswer(row, check);
  fillStrip(row, check, letters);
  fillFailures(row, check, now);
}

// ---- All checks

const rows = new Map();
let showsAll = false;

function matches(check, text) {
  const shown = [check.name, statusText(check), check.reason ?? "", check.answer ?? ""];
  return shown.some((one) => one.toLowerCase().includes(text));
}

function placeRows(checks, letters, now) {
  const seen = new Set();
  const body = byId("rows");
  let place = body.firstChild;
  for (const check of checks) {
    const key = `${check.probe} ${check.name}`;
    const row = rows.get(key) ?? newRow(check);
    rows.set(key, row);
    seen.add(key);
    fillRow(row, check, letters, now);
    if (row.node === place) {
      place = place.nextSibling;
    } else {
      body.insertBefore(row.node, place);
    }
  }
  for (const [key, row] of rows) {
    if (!seen.has(key)) {
      row.node.remove();
      rows.delete(key);
    }
  }
}

function showChecks(report, now) {
  const text = byId("filter").value.trim().toLowerCase();
  const found = report.checks.filter((check) => matches(check, text));
  const order = new Map(found.map((check) => [check, urgency(check)]));
  found.sort((one, other) => order.get(one) - order.get(other));
  const shown = showsAll ? found : found.slice(0, MAX_ROWS);
  const focused = document.activeElement;
  placeRows(shown, report.letters, now);
  // Moving a row would lose the focus.
  if (focused !== document.activeElement && focused.isConnected) {
    focused.focus({ preventScroll: true });
  }
  const total = formatCount(report.checks.length, "check");
  const failing = formatNumber(report.checks.filter(isFailing).length);
  const prefix = text ? `${formatNumber(found.length)} of ` : "";
  setText(byId("count"), `${prefix}${total}, ${failing === "0" ? "none" : failing} failing`);
  byId("more").hidden = shown.length === found.length;
  setText(byId("more").firstChild, `Show all ${formatNumber(found.length)}`);
}

// ---- The repository

// Ready models are already rows of the checks.
function repositoryItem({ name, version, state, reason }) {
  const model = version ? `${name}:${version}` : name;
  const words = state.replace("_", " ");
  return element("li", {}, element("strong", {}, model), ` ${words}`, quiet(` ${reason}`));
}

let shownRepository = null;

function showRepository({ repository }) {
  byId("repository").hidden = repository === null;
  const key = JSON.stringify(repository);
  if (repository === null || key === shownRepository) {
    return;
  }
  shownRepository = key;
  const counts = Object.entries(repository.states)
    .filter(([, count]) => count > 0)
    .map(([state, count]) => `${formatNumber(count)} ${state.replace("_", " ")}`);
  const more = repository.left_out
    ? ` ${formatCount(repository.left_out, "model")} more are not checked.`
    : "";
  setText(byId("repository-states"), `${counts.join(", ") || "Nothing known yet"}.${more}`);
  const others = repository.models.filter(({ state }) => state !== "ready");
  byId("repository-models").replaceChildren(...others.slice(0, MAX_ROWS).map(repositoryItem));
}

// ---- Updates

let latest = null;
let latestAt = null;
let timer = null;
let isAsking = false;

function showReport(report) {
  const now = Date.now();
  const [kind, words] = verdictOf(report);
  const key = JSON.stringify([words, report.endpoints.readyz, report.models]);
  setText(byId("server"), report.server_url);
  showVerdict(kind, words, key, () => reasonParagraphs(report));
  showEndpoints(report);
  showSidecar(report);
  showChecks(report, now);
  showRepository(report);
  byId("main").hidden = false;
  setText(byId("updated"), `Kept up to date; last at ${formatTime(new Date(now))}.`);
  latest = report;
  latestAt = now;
}

function lossSentences() {
  const sentences = ["It may have exited, or the connection may be broken. The page keeps trying."];
  if (latest !== null) {
    const time = formatTime(new Date(latestAt));
    const age = formatPeriod((Date.now() - latestAt) / 1000);
    const [, words] = verdictOf(latest);
    sentences.push(`The data below is from ${time}, ${age} ago. The verdict was “${words}”.`);
  }
  return sentences;
}

function showLoss() {
  const sentences = lossSentences();
  showVerdict("unsure", "No answer from the sidecar", sentences.join(" "), () =>
    sentences.map((sentence) => element("p", {}, sentence)),
  );
  const text = latestAt === null ? "" : `Out of date; last at ${formatTime(new Date(latestAt))}.`;
  setText(byId("updated"), text);
}

// Returns whether a valid report of the sidecar was received and shown.
async function update() {
  try {
    const signal = AbortSignal.timeout(TIMEOUT);
    const response = await fetch("status", { cache: "no-store", signal });
    if (!response.ok) {
      return false;
    }
    showReport(await response.json());
    return true;
  } catch {
    return false;
  }
}

async function ask() {
  if (isAsking) {
    return;
  }
  isAsking = true;
  clearTimeout(timer);
  const start = performance.now();
  const succeeded = await update();
  if (!succeeded) {
    showLoss();
  }
  isAsking = false;
  // With thousands of checks a response is expensive; use at most a tenth of the sidecar's time.
  const pause = 10 * (performance.now() - start);
  timer = setTimeout(ask, Math.max(PERIOD, succeeded ? pause : Math.min(pause, MAX_PERIOD)));
}

function showChecksAgain() {
  if (latest !== null) {
    showChecks(latest, latestAt);
  }
}

function showAll() {
  showsAll = true;
  showChecksAgain();
}

function askWhenVisible() {
  if (document.visibilityState === "visible") {
    ask();
  }
}

byId("filter").addEventListener("input", showChecksAgain);
byId("more").firstChild.addEventListener("click", showAll);
byId("without-script").hidden = true;
document.addEventListener("visibilitychange", askWhenVisible);
ask();
