// A critique: a table of all rules, one rule with a movable threshold, labels, duplicates, benchmarks, training.
const percent = (part, of) => (of ? `${((100 * part) / of).toFixed(1)} %` : "–");
const labels = record.labels.map((one) => one.label), named = Boolean(record.label);
const labelText = (value) => value || "(none)";
const firstRule = record.rules.reduce((best, one, i) => (one.alone.documents > record.rules[best].alone.documents ? i : best), 0);
const state = { count: "documents", label: "", rule: firstRule, edge: 0 };
const of = () => record[state.count];

/** Wilson's interval (1927) at 95 %. */
function wilson(k, n) {
  if (!n) return [0, 1];
  const z = 1.959964, p = k / n, middle = p + (z * z) / (2 * n), reach = z * Math.sqrt((p * (1 - p)) / n + (z * z) / (4 * n * n));
  return [Math.max(0, (middle - reach) / (1 + (z * z) / n)), Math.min(1, (middle + reach) / (1 + (z * z) / n))];
}

const chain = record.chain;
main.append(make("p", {}, `${plural(record.documents, "document", "documents")}${record.found > record.documents ? ` drawn from ${whole(record.found)}` : ""}, ${whole(record.tokens)} tokens (${record.tokenizer}). Filters for ${record.filters_of}; words ${record.words === "spaces" ? "at white space" : "by the language's word tokenizer"}. All filters in order remove ${percent(chain.removed.documents, record.documents)} of the documents and ${percent(chain.removed.tokens, record.tokens)} of the tokens; C4 deletes lines with ${percent(chain.tokens_of_deleted_lines, record.tokens)} of the tokens from documents that stay.`));

const parts = {
  rules: section("Every rule", "Alone: the rule by itself. In order: what reaches it in the chain and is removed there. Only this: what would be kept without it. A rule in parentheses is not in the chain."),
  one: section("One rule, with a threshold that moves", "Documents by the measured quantity. What the rule removes at the chosen threshold has the warm colour. The last bar holds everything beyond the axis."),
  samples: section("Removed by this rule", "Drawn at random among what it removes alone at its own threshold. Read them: would you remove them?"),
};
if (named) parts.labels = section("Whom the filters remove", `Share of documents of each ${record.label} that a filter removes alone, and all in order, with Wilson's 95 % interval.`);
if (record.duplicates) parts.duplicates = section("Near-duplicates", `MinHash over ${record.duplicates.n_grams}-grams of words, ${record.duplicates.buckets} buckets of ${record.duplicates.hashes} hashes.`);
if (record.contamination.length) parts.contamination = section("Benchmarks in the text", "Items whose context, or whose right answer, shares so many words in a row with a document. A short answer has no such row, so no length finds it.");
if (record.training) parts.training = section("What the filter does to a model", `Small models (${whole(record.training.parameters)} parameters) that read ${whole(record.training.tokens)} tokens each, on all documents or on those that ${record.training.filter} keeps.`);

const rulesHead = make("div", { class: "controls still" }), rulesBody = make("div");
parts.rules.append(rulesHead, rulesBody);
function drawRules() {
  keptChoice(rulesHead, "count", "count", [["documents", "documents"], ["tokens", "tokens"]], state.count, (value) => { state.count = value; drawRules(); drawOne(); });
  if (named) keptChoice(rulesHead, "label", "alone, among", [["", "all documents"], ...labels.map((one) => [`=${one}`, labelText(one)])], state.label, (value) => { state.label = value; drawRules(); });
  const rows = [];
  let filter = "";
  for (const rule of record.rules) {
    const total = record.filters.find((one) => one.filter === rule.filter);
    if (rule.filter !== filter && total) rows.push(line(make("strong", {}, rule.filter), "", total));
    filter = rule.filter;
    rows.push(line(rule.chain ? rule.name : `(${rule.name})`, `${rule.side === "above" ? ">" : "<"} ${+rule.threshold.toPrecision(6)}`, rule));
  }
  const counted = state.label ? "documents" : state.count;
  rulesBody.replaceChildren(table([["rule", "text"], ["threshold"], ["alone"], ["in order", "extra"], ["only this", "extra"], [`alone, 0 to 1`, "text"]], rows, { kind: "board", caption: `Shares of ${counted}; the bar is the interval of a label.` }));
}

function line(title, threshold, one) {
  const chosen = state.label ? one.by_label.find((row) => `=${row.label}` === state.label) : null;
  const share = chosen ? chosen.share : one.alone[state.count] / (of() || 1);
  const cells = ["in_order", "left_out"].map((key) => make("td", { class: "extra" }, one[key] ? percent(one[key][state.count], of()) : "–"));
  return row(make("td", { class: "name" }, title), threshold, `${(100 * share).toFixed(1)} %`, ...cells, track(share, chosen ? chosen.interval : [0, share], [0, 1]));
}

const oneHead = make("div", { class: "controls still" }), said = make("p", { role: "status", "aria-live": "polite", id: "said" }), oneBody = make("div");
parts.one.append(oneHead, said, oneBody);
const measured = record.rules.map((rule, i) => [rule, i]).filter(([rule]) => rule.histogram);
const current = () => record.rules[state.rule];
const slider = make("input", { type: "range", id: "threshold", min: "0", step: "1" }), shownThreshold = make("output", { for: "threshold" });
slider.addEventListener("input", () => { state.edge = Number(slider.value); drawOne(); });
function chooseRule(i) {
  state.rule = i;
  state.edge = current().histogram.edges.indexOf(current().threshold);
  drawOne();
  drawSamples();
}

/** Numbers of the bins that are removed at the chosen edge. */
const isGone = (bin) => (current().side === "above" ? bin >= state.edge : bin < state.edge);
const removed = (counts) => counts.reduce((sum, n, bin) => sum + (isGone(bin) ? n : 0), 0);

function drawOne() {
  const rule = current(), { edges, documents, tokens } = rule.histogram, limit = edges[state.edge];
  keptChoice(oneHead, "rule", "rule", measured.map(([one, i]) => [String(i), `${one.filter}: ${one.name}`]), String(state.rule), (value) => chooseRule(Number(value)));
  if (!slider.isConnected) oneHead.append(make("label", { class: "broad", for: "threshold" }, "threshold", slider, shownThreshold));
  slider.max = String(edges.length - 1);
  slider.value = String(state.edge);
  const short = `${+limit.toPrecision(4)}`;
  slider.setAttribute("aria-valuetext", short);
  shownThreshold.textContent = `${rule.side} ${short}${limit === rule.threshold ? " (the filter's own)" : ""}`;
  said.textContent = `${rule.quantity}, removed ${rule.side} ${short}: ${percent(removed(documents), record.documents)} of the documents, ${percent(removed(tokens), record.tokens)} of the tokens.${rule.histogram.unmeasured ? ` ${plural(rule.histogram.unmeasured, "document has", "documents have")} no such quantity.` : ""}`;
  const counts = state.count === "tokens" ? tokens : documents;
  oneBody.replaceChildren(histogram(rule, counts, edges), named ? ruleLabels(rule) : make("p", {}));
}

function histogram(rule, counts, edges) {
  const width = 680, height = 220, left = 8, bar = (width - 2 * left) / counts.length, most = Math.max(...counts, 1);
  const y = (n) => 175 - 160 * (n / most), x = (i) => left + bar * i;
  const picture = make("svg", { viewBox: `0 0 ${width} ${height}`, width: String(width), role: "img", "aria-label": `${state.count} by ${rule.quantity}; removed ${rule.side} ${edges[state.edge]}` });
  counts.forEach((n, i) => picture.append(make("rect", { class: isGone(i) ? "gone" : "kept", x: x(i) + 0.5, y: y(n), width: Math.max(bar - 1, 0.5), height: 175 - y(n) })));
  picture.append(make("line", { class: "axis", x1: left, y1: 175, x2: width - left, y2: 175 }), make("line", { class: "ideal", x1: x(state.edge), y1: 8, x2: x(state.edge), y2: 180 }));
  const steps = 6;
  for (let k = 0; k <= steps; k += 1) {
    const i = Math.round((k * (counts.length - 1)) / steps);
    picture.append(make("text", { x: x(i), y: 193, "text-anchor": k === 0 ? "start" : "middle" }, `${+edges[i].toPrecision(3)}`));
  }
  picture.append(make("text", { x: width / 2, y: 213, "text-anchor": "middle" }, rule.quantity));
  return picture;
}

function ruleLabels(rule) {
  const rows = record.labels.map(({ label, documents }) => [label, documents, removed(rule.histogram.by_label[label])]).sort((a, b) => b[2] / b[1] - a[2] / a[1]);
  return table([[record.label, "text"], ["documents"], ["removed"], ["95 %"], ["0 to 1", "text"]], rows.map(([label, n, k]) => {
    const [low, high] = wilson(k, n);
    return row(name(labelText(label)), whole(n), percent(k, n), `${(100 * low).toFixed(0)}–${(100 * high).toFixed(0)} %`, track(k / n, [low, high], [0, 1]));
  }), { kind: "labels", caption: `By ${record.label}, at the chosen threshold, with Wilson's interval.` });
}

function drawSamples() {
  const rule = current();
  parts.samples.replaceChildren(...(rule.examples.length
    ? rule.examples.map((one) => make("div", { class: "sample" }, make("p", { class: "muted" }, `${one.place}${one.label ? ` · ${one.label}` : ""} · ${rule.quantity}: ${+one.value.toPrecision(4)}`), make("p", { dir: "auto" }, one.text)))
    : [make("p", {}, `${rule.filter}: ${rule.name} removes nothing here.`)]));
}

function drawLabels() {
  const rows = chain.by_label.map((all, i) => [all, record.filters.map((one) => one.by_label[i])]).sort((a, b) => b[0].share - a[0].share);
  parts.labels.append(table([[record.label, "text"], ["documents", "extra"], ...record.filters.map((one) => [one.filter]), ["all in order"], ["interval", "text"]], rows.map(([all, each]) =>
    row(name(labelText(all.label)), make("td", { class: "extra" }, whole(all.documents)), ...each.map((one) => `${(100 * one.share).toFixed(1)} %`), `${(100 * all.share).toFixed(1)} %`, track(all.share, all.interval, [0, 1]))), { kind: "board", caption: "Filters alone; the bar is the interval of all in order." }));
}

function drawDuplicates() {
  const found = record.duplicates, clusters = found.cluster_sizes.reduce((sum, [, n]) => sum + n, 0), unlike = found.similarity_with_kept.filter((one) => one < 0.75).length;
  parts.duplicates.append(make("p", {}, `${plural(clusters, "cluster", "clusters")}; ${plural(found.removed.documents, "document", "documents")} removed, ${percent(found.removed.tokens, record.tokens)} of the tokens.${clusters ? ` ${whole(unlike)} of them share less than 75 % of their ${found.n_grams}-grams with the one that is kept: a cluster is a chain of pairs.` : ""}`));
  if (clusters) parts.duplicates.append(table([["documents in a cluster"], ["clusters"]], found.cluster_sizes.map(([size, n]) => row(whole(size), whole(n)))));
  for (const one of found.clusters.slice(0, 5)) parts.duplicates.append(make("div", { class: "sample" }, make("p", { class: "muted" }, `${whole(one.documents)} × ${one.places.join("; ")}${one.documents > one.places.length ? "; …" : ""}`), make("p", { dir: "auto" }, one.text)));
  if (!found.curve.length) return;
  const x = (v) => 34 + 330 * v, y = (v) => 250 - 230 * v, s = (v) => 1 - (1 - v ** found.hashes) ** found.buckets;
  const smooth = Array.from({ length: 101 }, (_, i) => i / 100);
  parts.duplicates.append(make("p", {}, `Pairs of known similarity: how often a bucket agrees (dots, with intervals), and 1 − (1 − s^${found.hashes})^${found.buckets} (line).`), make("svg", { viewBox: "0 0 380 290", width: "380", role: "img", "aria-label": "S-curve of MinHash: formula and measurement" },
    make("line", { class: "axis", x1: x(0), y1: y(0), x2: x(1), y2: y(0) }), make("line", { class: "axis", x1: x(0), y1: y(0), x2: x(0), y2: y(1) }),
    make("path", { class: "curve", d: smooth.map((v, i) => `${i ? "L" : "M"}${x(v)},${y(s(v))}`).join("") }),
    ...found.curve.flatMap((one) => [make("line", { class: "curve", x1: x(one.similarity), x2: x(one.similarity), y1: y(one.interval[0]), y2: y(one.interval[1]) }), make("circle", { class: "point", cx: x(one.similarity), cy: y(one.measured), r: 3.5 })]),
    ...[0, 0.5, 1].flatMap((v) => [make("text", { x: x(v), y: 266, "text-anchor": "middle" }, String(v)), make("text", { x: 28, y: y(v) + 4, "text-anchor": "end" }, String(v))]),
    make("text", { x: x(0.5), y: 284, "text-anchor": "middle" }, "share of 5-grams in common"), make("text", { x: x(0) + 6, y: 16 }, "found")));
}

function drawContamination() {
  for (const found of record.contamination) {
    parts.contamination.append(make("h3", {}, `${found.benchmark}, ${plural(found.items, "item", "items")}`), table([["words in a row"], ["documents"], ["contexts"], ["of", "extra"], ["answers"], ["of", "extra"], ["both"]], found.lengths.map((one) =>
      row(String(one.words), whole(one.documents), whole(one.context.items), make("td", { class: "extra" }, whole(one.context.long_enough)), whole(one.answer.items), make("td", { class: "extra" }, whole(one.answer.long_enough)), whole(one.both))), { kind: "board", caption: "“of”: contexts, or answers, that are long enough to be found." }));
    for (const model of found.models)
      parts.contamination.append(table([["words"], ["part", "text"], ["dirty items"], ["accuracy"], ["clean items"], ["accuracy"], ["difference"]], model.splits.map((one) =>
        row(String(one.words), text(one.part), whole(one.dirty.items), fixed(one.dirty.accuracy, 4), whole(one.clean.items), fixed(one.clean.accuracy, 4), one.difference === null ? "–" : `${fixed(one.difference, 4)} [${one.interval.map((v) => fixed(v, 4)).join(", ")}]`)), { caption: `${model.model}${model.prompt ? `, ${model.prompt}` : ""}, rule ${model.rule}: accuracy on dirty and clean items, with Newcombe's 95 % interval of the difference.` }));
    for (const one of found.examples) parts.contamination.append(make("div", { class: "sample" }, make("p", { class: "muted" }, `item ${one.item}, in ${one.place}`), make("p", { dir: "auto" }, `${one.context} → ${one.answer}`)));
  }
}

function drawTraining() {
  const found = record.training, sets = found.differences.map((one) => one.held_out);
  parts.training.append(table([["trained on", "text"], ["seed"], ...sets.map((one) => [`bits per byte: ${one}`])], found.runs.map((one) => row(name(one.trained_on), String(one.seed), ...sets.map((held) => fixed(one.bits_per_byte[held], 4)))), { caption: `Held-out documents, of both kinds. Passes over the text: ${found.sides.map((one) => `${one.side} ${one.epochs.toFixed(1)}`).join(", ")}.` }));
  for (const one of found.differences) parts.training.append(make("p", {}, `On held-out documents, ${one.held_out}: filtered − unfiltered ${one.difference >= 0 ? "+" : ""}${one.difference.toFixed(4)} ± ${one.stderr.toFixed(4)} bits per byte (${Math.abs(one.difference) < 2 * one.stderr ? "within two standard errors: no difference is shown" : one.difference < 0 ? "the filter helps" : "the filter harms"}).`));
}

drawRules();
if (measured.length) chooseRule(current().histogram ? state.rule : measured[0][1]);
if (named) drawLabels();
if (record.duplicates) drawDuplicates();
if (record.contamination.length) drawContamination();
if (record.training) drawTraining();
