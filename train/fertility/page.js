// Fertility: the figures as a table that can be sorted, and lines of two texts as coloured tokens, side by side.
const first = record.tokenizers[0].name, reference = record.reference ?? record.texts[0].name;
const dearest = record.rows.filter((one) => one.tokenizer === first && one.text !== reference).sort((a, b) => b.per_sentence - a.per_sentence)[0];
const state = { key: record.reference ? "premium" : "per_character", text: [reference, dearest?.text ?? reference], tokenizer: [first, dearest ? first : record.tokenizers.at(-1).name], search: "" };
const row_of = new Map(record.rows.map((one) => [JSON.stringify([one.text, one.tokenizer]), one]));
const figures = (text, tokenizer) => row_of.get(JSON.stringify([text, tokenizer]));
const KEYS = {
  premium: ["premium", 2], tokens: ["tokens", 0], per_sentence: ["tokens a sentence", 1], per_character: ["tokens a character", 3], per_byte: ["tokens a byte", 3], per_word: ["tokens a word", 2],
  words_split: ["share of words split", 3], types_whole: ["share of word types kept whole", 3], unknown_share: ["share of unknown tokens", 4], changed_lines: ["lines that decoding changes", 0],
  dollars: ["dollars", 4], dollars_for_a_reference_million: ["dollars for a million tokens of the reference", 2], share_of_context: [`contexts of ${whole(record.context)} tokens`, 2], sentences_in_context: ["sentences in a context", 1],
};
const known = Object.keys(KEYS).filter((key) => record.rows.some((one) => one[key] !== null));

// 1. The figures.
const table_part = section("Figures", record.reference ? `Premium: tokens of a text over those of ${record.reference}, which says the same (Petrov et al. 2023). Darker is dearer.` : "Darker is more.");
const figure_switch = make("div", { class: "controls still" }), figure_body = make("div");
table_part.append(figure_switch, figure_body);
figure_switch.append(choice("figure", "figure", known.map((key) => [key, KEYS[key][0]]), state.key, (value) => { state.key = value; draw_figures(); }));

function draw_figures() {
  const digits = KEYS[state.key][1], at = (text, tokenizer) => figures(text.name, tokenizer.name)[state.key];
  const worst = (text) => Math.max(...record.tokenizers.map((one) => at(text, one) ?? -1));
  const values = record.rows.map((one) => one[state.key]).filter((one) => one !== null);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const logs = low > 0 && high / low > 4;
  const share = (x) => (high === low ? 0 : logs ? Math.log(x / low) / Math.log(high / low) : (x - low) / (high - low));
  const rows = [...record.texts].sort((a, b) => worst(b) - worst(a)).map((one) => row(name(one.name), ...record.tokenizers.map((tokenizer) => {
    const value = at(one, tokenizer);
    const cell = make("td", {}, value === null ? "–" : digits ? value.toFixed(digits) : whole(value));
    if (value !== null) cell.style.background = `color-mix(in srgb, var(--heat) ${Math.round(70 * share(value))}%, transparent)`;
    else cell.title = one.no_words_because ?? "";
    return cell;
  })));
  figure_body.replaceChildren(table([["text", "text"], ...record.tokenizers.map((one) => [one.name])], rows, { caption: KEYS[state.key][0] }));
}
draw_figures();
const silent = record.texts.filter((one) => one.no_words_because);
if (silent.length) table_part.append(make("p", { class: "muted" }, `No words: ${silent.map((one) => `${one.name} (${one.no_words_because})`).join("; ")}.`));

// 2. The tokens.
const part = section("Tokens", "Neighbouring tokens have different colours. Striped and underlined: several tokens that are tied together, because a character, or a letter with its marks, is split between them; each stripe is a token. Click a line, or go to it with Tab, and walk with the arrow keys: what stands there is said at the lower edge.");
const switches = make("div", { class: "controls", role: "group", "aria-label": "texts and tokenizers" });
const status = make("p", { role: "status", "aria-live": "polite", id: "status" });
const said = make("p", { role: "status", "aria-live": "polite", id: "unit", class: "edge" }, "No token is chosen.");
const place = make("div", { id: "lines" });
part.append(switches, place, said);
const names = (list) => list.map((one) => [one.name, one.name]);
for (const side of [0, 1]) {
  const where = side ? "right" : "left";
  switches.append(
    choice(`text-${where}`, `text, ${where}`, names(record.texts), state.text[side], (value) => { state.text[side] = value; draw(); }),
    choice(`tokenizer-${where}`, `tokenizer, ${where}`, names(record.tokenizers), state.tokenizer[side], (value) => { state.tokenizer[side] = value; draw(); }));
}
const search = make("input", { id: "search", type: "search", autocomplete: "off", spellcheck: "false" });
search.addEventListener("input", () => { state.search = search.value; draw(); });
switches.append(make("label", {}, "search in both texts", search), make("div", { class: "said" }, status));

const index = (list, wanted) => list.findIndex((one) => one.name === wanted);
const folded = (value) => value.normalize("NFC").toLocaleLowerCase();

/** A line as units. Colours alone tell them apart: borders and gaps would tear joined letters and marks apart. */
function strip(text, tokenizer, number) {
  const line = record.lines[index(record.texts, text)][number], units = record.units[index(record.texts, text)][index(record.tokenizers, tokenizer)][number];
  const made = make("p", { class: "strip", dir: "auto", tabindex: "0", role: "group", "aria-label": `line ${number + 1} of ${text}, ${tokenizer}` });
  let at = 0, colour = 0;
  const spans = units.map(([length, ...ids]) => {
    const unit = make("span", {}, line.slice(at, at + length));
    at += length;
    unit.ids = ids;
    if (!ids.length) return unit;
    if (ids.length > 1) {
      unit.className = "tied";
      const stripes = ids.map((_, i) => `var(--t${(colour + i) % 4}) ${(100 * i) / ids.length}% ${(100 * (i + 1)) / ids.length}%`);
      unit.style.backgroundImage = `linear-gradient(to right, ${stripes.join(", ")})`;
    } else unit.className = `t${colour % 4}`;
    colour += ids.length;
    return unit;
  });
  made.append(...spans);
  const choose = (to) => {
    made.querySelector(".here")?.classList.remove("here");
    made.here = Math.max(0, Math.min(spans.length - 1, to));
    const unit = spans[made.here];
    unit.classList.add("here");
    const points = [...unit.textContent].map((one) => `U+${one.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`);
    said.textContent = `\u2068${unit.textContent}\u2069 (${points.slice(0, 12).join(" ")}${points.length > 12 ? " …" : ""}): ${plural(unit.ids.length, "token", "tokens")}, ${unit.ids.length === 1 ? "id" : "ids"} ${unit.ids.join(", ")}`;
  };
  made.addEventListener("click", (event) => { const to = spans.indexOf(event.target); if (to >= 0) choose(to); });
  made.addEventListener("keydown", (event) => {
    const towards = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const step = towards && (getComputedStyle(made).direction === "rtl" || right_to_left(line) ? -towards : towards);
    const to = step ? (made.here ?? (step > 0 ? -1 : spans.length)) + step : { Home: 0, End: spans.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    choose(to);
  });
  return made;
}
const right_to_left = (line) => /^[^\p{L}]*[\p{Script=Arabic}\p{Script=Hebrew}\p{Script=Syriac}\p{Script=Thaana}\p{Script=Nko}]/u.test(line);
const tokens_in = (text, tokenizer, number) => record.units[index(record.texts, text)][index(record.tokenizers, tokenizer)][number].reduce((sum, unit) => sum + unit.length - 1, 0);

function draw() {
  const wanted = folded(state.search), sides = [0, 1].map((side) => [state.text[side], state.tokenizer[side]]);
  const lines = sides.map(([text]) => record.lines[index(record.texts, text)]);
  const numbers = [...Array(Math.max(...lines.map((one) => one.length))).keys()].filter((n) => lines.some((one) => n < one.length && folded(one[n]).includes(wanted)));
  const sums = sides.map(([text, tokenizer], side) => numbers.reduce((sum, n) => sum + (n < lines[side].length ? tokens_in(text, tokenizer, n) : 0), 0));
  said.textContent = "No token is chosen.";
  status.textContent = numbers.length ? `${plural(numbers.length, "line", "lines")}: ${whole(sums[0])} tokens on the left, ${whole(sums[1])} on the right${sums[0] && sums[1] ? `, ${(sums[1] / sums[0]).toFixed(2)} times as many` : ""}.` : "No line holds this.";
  place.replaceChildren(...numbers.map((n) => make("div", { class: "pair" }, ...sides.map(([text, tokenizer], side) => n < lines[side].length
    ? make("div", {}, make("p", { class: "muted count" }, `${n + 1} · ${text}, ${tokenizer}: ${plural(tokens_in(text, tokenizer, n), "token", "tokens")}`), strip(text, tokenizer, n))
    : make("div")))));
}
draw();
