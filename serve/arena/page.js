// The arena: switches for the rating and the confidence; ranks move with them.
const METHODS = {
  "bradley-terry": ["Bradley–Terry, a tie as half a win", 0], "with ties": ["Bradley–Terry with ties as an outcome (Newman 2023)", 0],
  "style-controlled": ["Bradley–Terry with side and style held fixed", 0], elo: ["Elo in the order of the file", 1],
  "elo shuffled": ["Elo, mean over random orders", 1], "win rate": ["win rate, mean over opponents", 3], points: ["points", 1], pagerank: ["PageRank", 4],
};
const state = { method: "bradley-terry", confidence: String(record.confidence), before: {} };
const methods = Object.keys(METHODS).filter((one) => one in record.table[0].scores);
const controls = make("div", { class: "controls", role: "group", "aria-label": "switches" });
const status = make("p", { role: "status", "aria-live": "polite", id: "status" });
const place = make("div");
main.append(controls, status, place);
const ordered = () => [...record.table].sort((a, b) => b.scores[state.method] - a.scores[state.method]);

controls.append(
  choice("method", "rating", methods.map((one) => [one, METHODS[one][0]]), state.method, (value) => {
    state.before = Object.fromEntries(ordered().map((one, i) => [one.model, i + 1]));
    state.method = value;
    draw();
  }),
  choice("confidence", "confidence", Object.keys(record.table[0].intervals).sort().map((one) => [one, `${+(100 * one).toFixed(2)} %`]), state.confidence, (value) => { state.confidence = value; draw(); }));

function draw() {
  const rows = ordered(), digits = METHODS[state.method][1], isRating = state.method === "bradley-terry";
  const reach = (one) => (isRating ? one.intervals[state.confidence].rating : state.method === "elo shuffled" ? [-1, 1].map((s) => one.scores["elo shuffled"] + s * one.scores["elo shuffled sd"]) : [one.scores[state.method], one.scores[state.method]]);
  const ends = rows.flatMap((one) => [one.scores[state.method], ...reach(one).filter((end) => end !== null)]), scale = [Math.min(...ends), Math.max(...ends)];
  const bar = (one) => reach(one).map((end, i) => end ?? scale[i]); // an open end reaches the edge
  const ranks = (one) => { const found = one.intervals[state.confidence].rank; return found ? range(found) : "–"; };
  const made = rows.map((one, i) => {
    const was = state.before[one.model];
    const moved = was && was !== i + 1 ? make("span", { class: "moved" }, was > i + 1 ? ` ↑${was - i - 1}` : ` ↓${i + 1 - was}`) : null;
    const line = row(make("td", {}, String(i + 1), moved), ranks(one), name(one.model), fixed(one.scores[state.method], digits), make("td", { class: "extra" }, whole(one.votes)), track(one.scores[state.method], bar(one), scale));
    line.dataset.key = one.model;
    return line;
  });
  const known = place.querySelector("tbody");
  if (known) moveRows(known, made);
  else place.replaceChildren(table([["rank"], ["range"], ["model", "text"], ["rating"], ["votes", "extra"], ["interval", "text"]], made, { kind: "board", caption: "Range: ranks of Bradley–Terry in the middle part of the bootstraps. Bars: its interval at the chosen confidence; for shuffled Elo, the standard deviation over orders." }));
  const moved = rows.filter((one, i) => state.before[one.model] && state.before[one.model] !== i + 1).length;
  status.textContent = `${plural(record.votes, "vote", "votes")}, ${plural(record.models, "model", "models")}, ${fixed(100 * record.ties, 1)} % ties. ${record.probability_of_order === null ? "The votes do not bound all differences, so Bradley–Terry's order has no probability." : `Bradley–Terry's order is right in ${fixed(100 * record.probability_of_order, 1)} % of the bootstraps.`}${Object.keys(state.before).length ? ` ${plural(moved, "model has", "models have")} another rank than under the rating before.` : ""}`;
}
draw();

const warnings = [];
if (record.open_models) warnings.push("Some models win against all others they met, or lose: their strength has no finite maximum, and a weak prior holds it. Their bars reach the edge where they are open, and they have no range of ranks.");
if (record.groups_without_votes_between > 1) warnings.push(`${record.groups_without_votes_between} groups of models have no votes between them: only ranks inside a group mean anything.`);
if (record.left_out.length) warnings.push(`Left out for too few votes: ${record.left_out.join(", ")}.`);
if (warnings.length) section("Mind").append(...warnings.map((one) => make("p", {}, one)));

const side = section("Side and style", "Effects in log-odds of winning, with the models held fixed: what standing on the left gains, and what one standard deviation more of a property gains (Li et al. 2024).");
if (record.left_wins) side.append(make("p", {}, `The left answer wins ${fixed(100 * record.left_wins.share, 1)} % of ${whole(record.left_wins.n)} decided votes (${fixed(100 * record.left_wins.low, 1)} to ${fixed(100 * record.left_wins.high, 1)} %).`));
side.append(table([["effect", "text"], ["log-odds"], ["standard error"], ["p"]], record.effects.map((one) => row(name(one.name), fixed(one.value, 3), fixed(one.stderr, 3), one.p_value.toPrecision(2)))));

const circles = section("Circles", "a beats b, b beats c, c beats a, each by majority. Chance makes circles even where one number ranks all models: the count to compare with is simulated from the Bradley–Terry strengths.");
circles.append(make("p", {}, `${whole(record.circles.circular)} of ${whole(record.circles.triples)} triples with three majorities are circles; chance alone would make ${whole(record.circles.expected)}.`), make("ul", {}, ...record.circles.strongest.map(([a, b, c, margin]) => make("li", {}, `${a} > ${b} > ${c} > ${a}, by ${plural(margin, "vote", "votes")} or more`))));

const needed = section("Votes needed", "Votes between two neighbours until a test tells them apart: 80 % power, 5 % level, as many ties as here.");
needed.append(table([["better", "text"], ["worse", "text"], ["votes needed"], ["votes there"]], record.adjacent.map((one) => row(name(one.better), name(one.worse), one.finite_difference ? (one.votes_needed === null ? "∞" : whole(one.votes_needed)) : "–", whole(one.votes_between)))));
