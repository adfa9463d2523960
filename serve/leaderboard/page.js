// The leaderboard: switches for task, prompt, rule, subset, confidence and error; ranks move with them.
const state = { task: 0, prompt: "", rule: "", subset: "", confidence: String(record.settings.confidence), error: "plain", model: "", first: "", second: "", before: {} };
const task = () => record.tasks[state.task];
const same = (one, other, names) => names.every((key) => one[key] === other[key]);
const board = () => task().boards.find((one) => same(one, state, ["prompt", "rule", "subset"]));
const reset = () => Object.assign(state, task().main, { model: "", before: {} });
reset();

const controls = make("div", { class: "controls", role: "group", "aria-label": "switches" });
const status = make("p", { role: "status", "aria-live": "polite", id: "status" });
const place = make("div");
main.append(controls, status, place);
const parts = {
  pairs: section("Noise or difference?", "Neighbours in this order, tested on the same items. What is hard for both models cancels, so the paired error is smaller than that of two separate tests (Miller 2024). p is exact (McNemar 1947) for right and wrong, and adjusted for the number of pairs (Benjamini & Hochberg 1995)."),
  order: section("Is this order the right one?", "How often items drawn again, with replacement, give exactly this order (bootstrap, Efron 1979); and how often a smaller test of these items would find it."),
  flips: section("Another rule, prompt or subset", "Pairs of models that change places against the board named first."),
  calibration: section("Calibration", "Confidence is the largest share of the softmax over the scores. On the dashed line it equals the accuracy. ECE: expected calibration error over 15 bins (Guo et al. 2017)."),
  answers: section("What the answers give away", "Shares of items, without asking any model: where the right answers stand, and what always taking the longest or the shortest would score."),
  best: section("The best of many variants", "If N private variants are equally good and only the best score is published, it is too high by noise alone (Singh et al. 2025)."),
  lacking: section("Not computed", "Rules that the files have not enough for."),
};

const pairSwitches = make("div", { class: "controls still" }), pairSaid = make("p", { role: "status", id: "compared" });
const pairHead = make("div", {}, pairSwitches, pairSaid), pairBody = make("div");
parts.pairs.append(pairHead, pairBody);
const modelSwitch = make("div", { class: "controls still" }), modelBody = make("div");
parts.calibration.append(modelSwitch, modelBody);

/** Values of a switch, of which those without a board under the other two are left out. */
function possible(key) {
  const others = ["prompt", "rule", "subset"].filter((one) => one !== key);
  return task()[`${key}s`].filter((value) => task().boards.some((one) => one[key] === value && same(one, state, others)));
}

function drawControls() {
  const levels = Object.keys(task().boards[0].rows[0].intervals).sort();
  if (record.tasks.length > 1)
    keptChoice(controls, "task", "task", record.tasks.map((one, i) => [String(i), one.task]), String(state.task), (value) => { state.task = Number(value); reset(); draw(); });
  for (const [key, label] of [["rule", "rule"], ["prompt", "prompt"], ["subset", "items"]])
    keptChoice(controls, key, label, task()[`${key}s`].map((value) => [value, value || "(none)"]), state[key], (value) => change(key, value));
  keptChoice(controls, "confidence", "confidence", levels.map((one) => [one, `${+(100 * one).toFixed(2)} %`]), state.confidence, (value) => { state.confidence = value; draw(); });
  keptChoice(controls, "error", "errors", task().groups ? [["plain", "items independent"], ["clustered", "by group"]] : [["plain", "items independent"]], task().groups ? state.error : "plain", (value) => { state.error = value; draw(); });
}

function change(key, value) {
  state.before = Object.fromEntries(board().rows.map((one) => [one.model, one.rank]));
  state[key] = value;
  // Not every rule has every prompt: keep what was chosen last, and move the others to what exists.
  for (const other of ["prompt", "subset", "rule"]) if (!board() && other !== key && possible(other).length) state[other] = possible(other)[0];
  if (!board()) Object.assign(state, pickKey(task().boards.find((one) => one[key] === value)));
  draw();
}
const pickKey = ({ prompt, rule, subset }) => ({ prompt, rule, subset });

function drawBoard() {
  const shown = board();
  const interval = (one) => (state.error === "clustered" && one.intervals[state.confidence].clustered) || one.intervals[state.confidence].value;
  const ends = shown.rows.flatMap((one) => interval(one).filter((x) => x !== null));
  const scale = [Math.min(...ends), Math.max(...ends)];
  const rows = shown.rows.map((one) => {
    const was = state.before[one.model];
    const moved = was && was !== one.rank ? make("span", { class: "moved" }, was > one.rank ? ` ↑${was - one.rank}` : ` ↓${one.rank - was}`) : null;
    const line = row(
      make("td", {}, String(one.rank), moved), range(one.intervals[state.confidence].rank), name(one.model), fixed(one.value, 4),
      make("td", { class: "extra" }, `± ${fixed(state.error === "clustered" && one.clustered !== null ? one.clustered : one.stderr, 4)}`),
      track(one.value, interval(one)[0] === null ? [one.value, one.value] : interval(one), scale));
    line.dataset.key = one.model;
    return line;
  });
  const headings = [["rank"], ["range"], ["model", "text"], [state.rule], ["standard error", "extra"], ["interval", "text"]];
  const known = place.querySelector("tbody");
  if (known) {
    place.querySelectorAll("th")[3].textContent = state.rule;
    moveRows(known, rows);
  } else place.replaceChildren(table(headings, rows, { kind: "board", caption: "Range: ranks the model has in the middle part of the bootstraps. Bars: intervals at the chosen confidence." }));
  const moved = shown.rows.filter((one) => state.before[one.model] && state.before[one.model] !== one.rank).length;
  const apart = shown.rows.length > 1 ? ` This order is right in ${fixed(100 * shown.probability_of_order, 0)} % of the bootstraps.` : "";
  status.textContent = `${task().task}, ${whole(shown.items)} items, ${shown.lower_is_better ? "lower is better" : "higher is better"}.${apart}${Object.keys(state.before).length ? ` ${plural(moved, "model has", "models have")} another rank than before.` : ""}`;
}

function drawPairs() {
  const found = task().pairs.find((one) => same(one, state, ["prompt", "rule"]));
  const by = new Map((found?.pairs ?? []).map((one) => [JSON.stringify([one.better, one.worse]), one]));
  const names = (task().boards.find((one) => same(one, { ...state, subset: "all" }, ["prompt", "rule", "subset"]))?.rows ?? []).map((one) => one.model);
  const rows = names.slice(1).map((worse, i) => [by.get(JSON.stringify([names[i], worse])), names[i], worse]).filter(([one]) => one).map(([one, better, worse]) =>
    row(name(better), name(worse), fixed(one.difference, 4), fixed(one.stderr, 4), fixed(one.unpaired, 4), one.only_first === null ? "–" : `${whole(one.only_first)} / ${whole(one.only_second)}`, fixed(one.z, 2), one.p_adjusted < 0.001 ? "< 0.001" : fixed(one.p_adjusted, 3), whole(one.items_for_this), whole(one.items_for_a_point)));
  const isComplete = rows.length && found.pairs.length === (names.length * (names.length - 1)) / 2;
  pairHead.hidden = !isComplete;
  if (isComplete) anyTwo(found.pairs, names);
  pairBody.replaceChildren(rows.length ? table([["better", "text"], ["worse", "text"], ["difference"], ["paired SE"], ["unpaired"], ["only one right"], ["z"], ["p"], ["items for this"], ["items for a point"]], rows, { caption: "On all items. Items for this: until a difference of this size is found in 80 % of tests; for a point: a difference of 0.01." }) : make("p", {}, "One model has nothing to be compared with."));
}

/** Two switches for any two models, and a sentence with all that the items say about them. */
function anyTwo(pairs, names) {
  if (!names.includes(state.first)) state.first = names[0];
  if (!names.includes(state.second)) state.second = names[1];
  for (const [id, key] of [["compare", "first"], ["with", "second"]])
    keptChoice(pairSwitches, id, id, names.map((name) => [name, name]), state[key], (value) => { state[key] = value; drawPairs(); });
  const one = pairs.find((pair) => pair.better === state.first && pair.worse === state.second) ?? pairs.find((pair) => pair.better === state.second && pair.worse === state.first);
  const said = one
    ? `${one.better} is better than ${one.worse} by ${fixed(one.difference, 4)} (bootstrap ${fixed(one.bootstrap[0], 4)} to ${fixed(one.bootstrap[1], 4)}), paired standard error ${fixed(one.stderr, 4)}${one.clustered === null ? "" : `, by group ${fixed(one.clustered, 4)}`}; ${one.only_first === null ? "" : `only the first is right on ${whole(one.only_first)} items, only the second on ${whole(one.only_second)}; `}z ${fixed(one.z, 2)}, p ${one.p_value.toPrecision(2)}. ${one.items_for_this === null ? "No number of items tells them apart." : `${whole(one.items_for_this)} items would tell them apart.`}`
    : "Choose two models.";
  pairSaid.textContent = said;
}

function drawOrder() {
  const found = task().order_by_items.find((one) => same(one, state, ["prompt", "rule"]));
  parts.order.replaceChildren(found ? table([["items"], ["probability of this order"], ["0 to 1", "text"]], found.probability.map(([n, p]) => row(whole(n), fixed(p, 2), track(p, [0, p], [0, 1])))) : make("p", {}, "One model has no order."));
}

function drawFlips() {
  const from = task().main;
  const rows = task().flips.map((one) => {
    const key = ["prompt", "rule", "subset"].find((part) => one.from[part] !== one.to[part]);
    return row(text(key === "subset" ? "items" : key), name(one.to[key]), `${one.flipped.length} of ${one.pairs}`, fixed(one.kendall_tau, 3), long(one.flipped.map(([a, b]) => `${a} > ${b}`).join("; ") || "–"));
  });
  parts.flips.replaceChildren(rows.length ? table([["changed", "text"], ["to", "text"], ["pairs"], ["Kendall τ"], ["now in this order", "text"]], rows, { caption: `Against rule ${from.rule}, items ${from.subset}${from.prompt ? `, prompt ${from.prompt}` : ""}.` }) : make("p", {}, "There is no other board to compare with."));
}

function drawCalibration() {
  const found = task().calibration.filter((one) => same(one, state, ["prompt", "rule"]));
  modelSwitch.hidden = !found.length;
  if (!found.length) return modelBody.replaceChildren(make("p", {}, "This rule chooses no answer."));
  const shown = found.find((one) => one.model === state.model) ?? found[0];
  keptChoice(modelSwitch, "model", "model", found.map((one) => [one.model, one.model]), shown.model, (value) => { state.model = value; drawCalibration(); });
  const x = (v) => 30 + 270 * v, y = (v) => 280 - 260 * v;
  const label = (v, at) => make("text", at, String(v));
  const picture = make("svg", { viewBox: "0 0 310 310", width: "310", role: "img", "aria-label": `accuracy against confidence of ${shown.model}` },
    make("line", { class: "axis", x1: x(0), y1: y(0), x2: x(1), y2: y(0) }), make("line", { class: "axis", x1: x(0), y1: y(0), x2: x(0), y2: y(1) }),
    make("line", { class: "ideal", x1: x(0), y1: y(0), x2: x(1), y2: y(1) }),
    make("path", { class: "curve", d: shown.bins.map((bin, i) => `${i ? "L" : "M"}${x(bin.confidence)},${y(bin.accuracy)}`).join("") }),
    ...shown.bins.map((bin) => make("circle", { class: "point", cx: x(bin.confidence), cy: y(bin.accuracy), r: 2 + 6 * Math.sqrt(bin.n / task().items) })),
    ...[0, 0.5, 1].flatMap((v) => [label(v, { x: x(v), y: 295, "text-anchor": "middle" }), label(v, { x: 24, y: y(v) + 4, "text-anchor": "end" })]),
    label("confidence", { x: x(0.5), y: 308, "text-anchor": "middle" }), label("accuracy", { x: x(0) + 6, y: 18 }));
  const line = make("p", {}, `Mean confidence ${fixed(shown.confidence, 3)}, accuracy ${fixed(shown.accuracy, 3)}, ECE ${fixed(shown.ece, 3)}.`);
  modelBody.replaceChildren(line, picture);
}

function drawAnswers() {
  const found = task().answers.task;
  const models = task().answers.models.filter((one) => same(one, state, ["prompt", "rule"]));
  const headings = [["answers", "text"], ...found.right.map((_, i) => [`answer ${i + 1}`])];
  const rows = [row(text("right answers"), ...found.right.map((v) => fixed(v, 3))), ...models.map((one) => row(name(`chosen by ${one.model}`), ...one.chosen.map((v) => fixed(v, 3))))];
  const lengths = "longest" in found ? ` Always the longest: ${fixed(found.longest, 3)}; the shortest: ${fixed(found.shortest, 3)}; chance: ${fixed(found.chance, 3)}.` : "";
  parts.answers.replaceChildren(make("p", {}, `That the right answers are spread evenly over the positions has p = ${found.p_value.toPrecision(2)}.${lengths}`), table(headings, rows));
}

function drawBest() {
  const found = task().best_of, steps = Object.keys(found.rows[0].best).map(Number).sort((a, b) => a - b);
  parts.best.replaceChildren(table([["model", "text"], ...steps.map((n) => [n === 1 ? "one" : `best of ${n}`]), [`places gained with ${found.variants}`]], found.rows.map((one) => row(name(one.model), ...steps.map((n) => fixed(one.best[n], 4)), String(one.passes.length))), { caption: `Expected figure under rule ${found.rule}, ${whole(found.items)} items, of variants that err independently; those of one model gain less.` }));
}

function drawLacking() {
  const by = new Map();
  for (const one of task().lacking) by.set(`${one.rule} needs ${one.missing}`, (by.get(`${one.rule} needs ${one.missing}`) ?? new Set()).add(one.model));
  const all = new Set(task().boards.flatMap((one) => one.rows.map((line) => line.model))).size;
  const who = (models) => (models.size === all ? "all models" : models.size > all / 2 ? `${models.size} of ${all} models` : [...models].join(", "));
  parts.lacking.replaceChildren(by.size ? make("ul", {}, ...[...by].map(([what, models]) => make("li", {}, `${what}: lacking for ${who(models)}`))) : make("p", {}, "Nothing: the files have all that the rules need."));
}

function draw() { for (const one of [drawControls, drawBoard, drawPairs, drawOrder, drawFlips, drawCalibration, drawAnswers, drawBest, drawLacking]) one(); }
draw();
