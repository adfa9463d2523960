"use strict";
// What the pages share. Text from the record goes through textContent only.
const record = JSON.parse(document.getElementById("record").textContent);
const main = document.getElementById("main");
main.replaceChildren();

/** An element: make("td", {class: "name"}, "text", child). */
function make(tag, attributes = {}, ...children) {
  const svg = ["svg", "path", "line", "circle", "rect", "text"].includes(tag);
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function section(title, explanation) {
  const body = make("div");
  main.append(make("section", {}, make("h2", {}, title), explanation ? make("p", { class: "muted" }, explanation) : null, body));
  return body;
}

/** A labelled select that calls `changed` with the chosen value. */
function choice(id, label, values, chosen, changed) {
  const select = make("select", { id });
  for (const [value, text] of values) {
    const option = make("option", { value }, text);
    option.selected = value === chosen;
    select.append(option);
  }
  select.addEventListener("change", () => changed(select.value));
  return make("label", {}, label, select);
}

/** As `choice`, inside `head`; one that is there with the same values stays, so that the focus and typing ahead do too. */
function keptChoice(head, id, label, values, chosen, changed) {
  const there = head.querySelector("#" + id), key = JSON.stringify(values);
  if (there?.dataset.key === key) {
    there.value = chosen;
    return;
  }
  const made = choice(id, label, values, chosen, changed);
  made.querySelector("select").dataset.key = key;
  if (there) there.closest("label").replaceWith(made);
  else head.append(made);
}

function table(headings, rows, { kind = "", caption = "" } = {}) {
  const head = make("tr");
  for (const [text, style = ""] of headings) head.append(make("th", { class: style, scope: "col" }, text));
  const body = make("tbody", {}, ...rows);
  const made = make("table", { class: kind }, caption ? make("caption", {}, caption) : null, make("thead", {}, head), body);
  return make("div", { class: "wide", tabindex: "0", role: "region", "aria-label": caption || headings.map(([t]) => t).join(", ") }, made);
}

const row = (...cells) =>
  make("tr", {}, ...cells.map((cell) => (cell instanceof Node ? cell : make("td", {}, String(cell)))));
const text = (value) => make("td", { class: "text" }, String(value));
const name = (value) => make("td", { class: "name" }, String(value));
const long = (value) => make("td", { class: "name long" }, String(value));
const fixed = (value, digits) => (value === null || value === undefined ? "–" : value.toFixed(digits));
const whole = (value) => (value === null || value === undefined ? "–" : Math.round(value).toLocaleString("en"));
const range = ([low, high]) => (low === high ? String(low) : `${low}–${high}`);
const plural = (n, one, many) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;

/** A dot with its interval on a common scale. */
function track(value, [low, high], [least, most]) {
  const at = (x) => `${(100 * (x - least)) / (most - least || 1)}%`;
  const reach = make("div", { class: "reach" });
  reach.style.left = at(low);
  reach.style.width = `${(100 * (high - low)) / (most - least || 1)}%`;
  const dot = make("div", { class: "dot" });
  dot.style.left = at(value);
  return make("td", { class: "plot", "aria-hidden": "true" }, make("div", { class: "track" }, reach, dot));
}

/** Replaces the rows of a table body; rows that stay move to their new place. Rows have data-key. */
function moveRows(body, rows) {
  const before = new Map([...body.children].map((one) => [one.dataset.key, one.getBoundingClientRect().top]));
  body.replaceChildren(...rows);
  if (matchMedia("(prefers-reduced-motion: reduce)").matches || rows.length > 300) return;
  for (const one of rows) {
    const change = (before.get(one.dataset.key) ?? NaN) - one.getBoundingClientRect().top;
    if (change) one.animate([{ transform: `translateY(${change}px)` }, { transform: "none" }], { duration: 350, easing: "ease-out" });
  }
}

const themes = ["system", "light", "dark"];
const theme = document.getElementById("theme");
theme.addEventListener("click", () => {
  const next = themes[(themes.indexOf(document.documentElement.dataset.theme || "system") + 1) % themes.length];
  document.documentElement.dataset.theme = next;
  theme.textContent = `Theme: ${next}`;
});
