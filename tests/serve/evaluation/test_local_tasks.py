"""MMLU, GSM8K and IFEval from local files ask and score as the harness's own tasks do on the same rows.

The harness's own tasks get the rows through a stand-in for `datasets.load_dataset`, which they call for a download.
"""

import json
import re
from pathlib import Path

import datasets
import lm_eval.tasks
import pyarrow
import pyarrow.parquet
import pytest
from lm_eval import evaluator
from lm_eval.api.model import LM
from lm_eval.tasks import TaskManager

from serve.evaluation import tasks as ours
from serve.evaluation.local_rows import parse_data

pytestmark = pytest.mark.filterwarnings("default")  # of the harness and what it imports: not ours to mend

SUBJECTS = ("abstract_algebra", "anatomy")


def question(subject: str, split: str, number: int) -> dict:
    """A row with the columns of cais/mmlu."""
    return {
        "question": f" In {subject}, {split} question {number}? ",
        "subject": subject,
        "choices": [f"{subject} {number}", "none", "all of them", f"{number} + 1"],
        "answer": number % 4,
    }


MMLU = {
    subject: {split: [question(subject, split, i) for i in range(n)] for split, n in [("test", 6), ("dev", 5)]}
    for subject in SUBJECTS
}
GSM8K = {
    split: [
        {
            "question": f"{split} {i}: Ann has {i} pens and buys {i + 2} more. How many are there?",
            "answer": f"She has {i} + {i + 2} = <<{i}+{i + 2}={2 * i + 2}>>{2 * i + 2}.\n#### {2 * i + 2:,}",
        }
        for i in range(start, start + n)
    ]
    for split, start, n in [("test", 500, 6), ("train", 0, 8)]
}
IFEVAL = [
    {
        "key": 1000,
        "prompt": "Write a poem. Do not use any commas.",
        "instruction_id_list": ["punctuation:no_comma"],
        "kwargs": [{}],
    },
    {
        "key": 1001,
        "prompt": "Answer with at least 3 words, in lower case.",
        "instruction_id_list": ["length_constraints:number_words", "change_case:english_lowercase"],
        "kwargs": [{"num_words": 3, "relation": "at least"}, {}],
    },
    {
        "key": 1002,
        "prompt": "Say the word apple, and at most two sentences.",
        "instruction_id_list": ["keywords:existence", "length_constraints:number_sentences"],
        "kwargs": [{"keywords": ["apple"]}, {"num_sentences": 3, "relation": "less than"}],
    },
]


class Canned(LM):
    """Log-probabilities from the text's characters; continuations that are right for some items and forms only."""

    loglikelihood_rolling = None

    def loglikelihood(self, requests):
        self.asked = [one.args for one in requests]
        return [(-float(sum(map(ord, "".join(one.args))) % 13), False) for one in requests]

    def generate_until(self, requests):
        self.asked = [one.args for one in requests]
        forms = ("so #### {:,}", "The answer is {}.", "#### ${:,}.00", "no number", "it is {:,}, not 7", "#### {}")
        answers = []
        for number, one in enumerate(requests):
            found = re.search(r"(?s).*Ann has (\d+)", one.args[0])  # in the last question
            text = forms[number % len(forms)].format(2 * int(found[1]) + 2) if found else ""
            answers.append(
                text or ["a poem. with no stop", "Three Words, Here", "an apple a day. Yes! No?"][number % 3]
            )
        return answers


@pytest.fixture(scope="module")
def nltk_data(tmp_path_factory):
    """Stands in for NLTK's punkt_tab: the algorithm without learnt abbreviations."""
    folder = tmp_path_factory.mktemp("nltk")
    english = folder / "tokenizers" / "punkt_tab" / "english"
    english.mkdir(parents=True)
    for name in ("collocations.tab", "sent_starters.txt", "abbrev_types.txt", "ortho_context.tab"):
        (english / name).write_text("")
    import nltk

    nltk.data.path.insert(0, str(folder))
    yield folder
    nltk.data.path.remove(str(folder))


@pytest.fixture
def theirs(monkeypatch):
    """Loads tasks as the harness does, from a stand-in for the hub."""
    repositories = {
        "cais/mmlu": MMLU,
        "openai/gsm8k": {"main": GSM8K},
        "google/IFEval": {None: {"train": IFEVAL}},
    }

    def load_dataset(path, name=None, **_):
        splits = repositories[path][name]
        return datasets.DatasetDict({split: datasets.Dataset.from_list(rows) for split, rows in splits.items()})

    def load(folder, names, num_fewshot=None):
        monkeypatch.setattr(datasets, "load_dataset", load_dataset)
        manager = TaskManager(include_defaults=False, include_path=[Path(lm_eval.tasks.__file__).parent / folder])
        loaded = manager.load(names)
        for task in loaded["tasks"].values():
            ours.set_fewshot(task, num_fewshot)
        ours.seed_examples(loaded)
        return loaded

    return load


def write(path: Path, rows: list[dict]) -> Path:
    """The rows as parquet, JSONL or a JSON list, by the name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        path.write_text(json.dumps(rows))
    return path


def asked_and_scored(loaded):
    model = Canned()
    results = evaluator.evaluate(model, loaded, bootstrap_iters=0, log_samples=False)
    return model.asked, results["results"]


def mmlu_as_repository(folder: Path) -> list[str]:
    for subject, splits in MMLU.items():
        for split, rows in splits.items():
            write(folder / subject / f"{split}-00000-of-00001.parquet", rows)
    return [f"mmlu={folder}"]


def mmlu_as_one_file_each(folder: Path) -> list[str]:
    every = {split: [row for splits in MMLU.values() for row in splits[split]] for split in ("test", "dev")}
    return [
        f"mmlu={write(folder / 'questions.jsonl', every['test'])}",
        f"mmlu:dev={write(folder / 'examples.json', every['dev'])}",
    ]


def mmlu_as_all(folder: Path) -> list[str]:
    for split in ("test", "dev"):
        write(folder / "all" / f"{split}.parquet", [row for splits in MMLU.values() for row in splits[split]])
    return [f"mmlu={folder}"]


@pytest.fixture
def two_subjects(monkeypatch, tmp_path):
    """The harness's mmlu, with two of its 57 subjects."""
    source = Path(lm_eval.tasks.__file__).parent / "mmlu" / "default"
    folder = tmp_path / "harness" / "mmlu" / "default"
    folder.mkdir(parents=True)
    members = [f"mmlu_{subject}" for subject in SUBJECTS]
    for name in ("_default_template_yaml", *(f"{member}.yaml" for member in members)):
        (folder / name).write_text((source / name).read_text())
    group = (source / "_mmlu.yaml").read_text()
    listed = re.sub(r"(?<=task:\n)(  - .*\n)+", "".join(f"  - {member}\n" for member in members), group)
    assert listed != group
    (folder / "_mmlu.yaml").write_text(listed)
    monkeypatch.setattr(ours, "HARNESS_FOLDER", tmp_path / "harness")
    return folder


@pytest.mark.parametrize("layout", [mmlu_as_repository, mmlu_as_one_file_each, mmlu_as_all])
@pytest.mark.parametrize("shots", [0, 5])
def test_mmlu_asks_and_scores_as_the_harness_does(tmp_path, theirs, two_subjects, layout, shots):
    expected = asked_and_scored(theirs(two_subjects, ["mmlu"], shots))
    found = asked_and_scored(ours.load_tasks(["mmlu"], parse_data(layout(tmp_path / "data")), shots))
    assert found == expected
    asked, results = found
    assert len(asked) == 2 * 6 * 4
    prompt, answer = asked[0]
    assert prompt.startswith("The following are multiple choice questions (with answers) about abstract algebra.\n\n")
    assert prompt.count("Answer:") == shots + 1
    assert ("dev question 4?" in prompt) == (shots == 5)
    assert answer == " A"
    assert 0 < results["mmlu"]["acc,none"] < 1


def test_one_subject_of_mmlu_takes_a_file(tmp_path, theirs, two_subjects):
    expected = asked_and_scored(theirs(two_subjects, ["mmlu_anatomy"], 5))
    data = [
        f"mmlu_anatomy={write(tmp_path / 'q.parquet', MMLU['anatomy']['test'])}",
        f"mmlu_anatomy:dev={write(tmp_path / 'e.parquet', MMLU['anatomy']['dev'])}",
    ]
    assert asked_and_scored(ours.load_tasks(["mmlu_anatomy"], parse_data(data), 5)) == expected


@pytest.mark.parametrize("is_folder", [True, False])
def test_gsm8k_asks_five_examples_and_scores_both_ways_as_the_harness_does(tmp_path, theirs, is_folder):
    expected = asked_and_scored(theirs("gsm8k", ["gsm8k"]))
    test = write(tmp_path / "main" / "test-00000-of-00001.parquet", GSM8K["test"])
    train = write(tmp_path / "main" / "train-00000-of-00001.parquet", GSM8K["train"])
    data = [f"gsm8k={tmp_path}"] if is_folder else [f"gsm8k={test}", f"gsm8k:train={train}"]
    found = asked_and_scored(ours.load_tasks(["gsm8k"], parse_data(data)))
    assert found == expected
    asked, results = found
    assert asked[0][0].count("Question:") == 6
    assert asked[0][0].count("#### ") == 5
    figures = [results["gsm8k"][f"exact_match,{name}"] for name in ("strict-match", "flexible-extract")]
    # Of the six forms of `Canned`: the first and the last; and the second, whose number ends with a point.
    assert figures == [pytest.approx(2 / 6), pytest.approx(3 / 6)]


@pytest.mark.parametrize("name", ["ifeval_input_data.jsonl", "train.parquet", "rows.json"])
@pytest.mark.parametrize("is_folder", [True, False])
def test_ifeval_checks_instructions_as_the_harness_does(tmp_path, theirs, nltk_data, name, is_folder):
    expected = asked_and_scored(theirs("ifeval", ["ifeval"]))
    path = write(tmp_path / name, IFEVAL)
    data = parse_data([f"ifeval={tmp_path if is_folder else path}"])
    found = asked_and_scored(ours.load_tasks(["ifeval"], data))
    assert found == expected
    asked, results = found
    assert asked[0][0] == IFEVAL[0]["prompt"]
    assert results["ifeval"]["prompt_level_strict_acc,none"] == pytest.approx(
        1 / 3
    )  # no comma; capitals; three sentences
    assert results["ifeval"]["inst_level_strict_acc,none"] == pytest.approx(3 / 5)


def test_a_data_set_in_the_hub_s_cache_is_found_without_a_network(tmp_path, monkeypatch, theirs):
    expected = asked_and_scored(theirs("gsm8k", ["gsm8k"]))

    def refuse(*_, **__):
        raise ConnectionError("the hub is not reachable")

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    repository, commit = tmp_path / "datasets--openai--gsm8k", "0" * 40
    for split, rows in GSM8K.items():
        write(repository / "snapshots" / commit / "main" / f"{split}-00000-of-00001.parquet", rows)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert asked_and_scored(ours.load_tasks(["gsm8k"], {})) == expected


@pytest.mark.parametrize(
    ("name", "files", "shots", "message"),
    [
        ("gsm8k", {"gsm8k": "test.jsonl"}, None, r"gsm8k shows 5 examples .* --data gsm8k:train=FILE, or --num"),
        ("mmlu_anatomy", {"mmlu_anatomy": "mmlu.jsonl"}, 5, r"give --data mmlu_anatomy:dev=FILE"),
        ("mmlu_anatomy", {"mmlu_anatomy": "algebra.jsonl"}, 0, r"no row whose subject is 'anatomy'; it has abstr"),
        ("gsm8k", {"gsm8k": "other.jsonl"}, 0, r"other\.jsonl has the columns goal; gsm8k .* needs answer, question"),
        ("mmlu_anatomy", {"mmlu_anatomy": "test.jsonl"}, None, r"needs choices too"),
        ("gsm8k", {"gsm8k": "empty"}, None, r"empty has no rows of gsm8k: neither there nor in .*empty/main is a"),
        ("gsm8k", {"gsm8k:train": "train.jsonl"}, None, r"gives only examples: add gsm8k=FILE"),
    ],
)  # fmt: skip
def test_files_that_do_not_fit_a_task_are_refused_with_the_cure(tmp_path, name, files, shots, message):
    write(tmp_path / "test.jsonl", GSM8K["test"])
    write(tmp_path / "train.jsonl", GSM8K["train"])
    write(tmp_path / "other.jsonl", [{"goal": "x"}])
    write(tmp_path / "mmlu.jsonl", MMLU["anatomy"]["test"])
    write(tmp_path / "algebra.jsonl", MMLU["abstract_algebra"]["test"])
    (tmp_path / "empty").mkdir()
    data = parse_data([f"{task}={tmp_path / file}" for task, file in files.items()])
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        ours.load_tasks([name], data, shots)


def piqa(label, second="eat"):
    return {"goal": "open a jar", "sol1": "twist", "sol2": second, "label": label}


def hellaswag(label, endings=("a", "b", "c")):
    return {"activity_label": "x", "ctx_a": "A b.", "ctx_b": "c", "endings": list(endings), "label": label}


def arc(key):
    return {"question": "q", "choices": {"text": ["a", "b"], "label": ["A", "B"]}, "answerKey": key}


def winogrande(answer):
    return {"sentence": "x _ y", "option1": "p", "option2": "q", "answer": answer}


def mmlu(answer):
    return MMLU["anatomy"]["test"][0] | {"answer": answer}


@pytest.mark.parametrize(
    ("name", "rows", "message"),
    [
        ("piqa", [piqa(-1)] * 2, r"row 1 has no right answer for .*; label is -1; .* no labels: .*validation"),
        ("piqa", [piqa(0), piqa(None)], r"row 2 .*label is None; this split has no labels"),
        ("piqa", [piqa(0), piqa(2)], r"row 2 does not .*; label is 2; 2 is not the number of one of 2 answers, 0 to 1"),
        ("piqa", [piqa("1")], r"row 1 .*'1' is not the number"),
        ("piqa", [piqa(1.0)], r"row 1 .*1\.0 is not the number"),
        ("piqa", [piqa(0, "")], r"row 1 does not fit .*IndexError.*; empty: sol2$"),
        ("hellaswag", [hellaswag("0"), hellaswag("")], r"row 2 .*label is ''; this split has no labels"),
        ("hellaswag", [hellaswag("0"), hellaswag("7")], r"row 2 .*'7'; 7 is not the number of one of 3 answers"),
        ("hellaswag", [hellaswag("7")], r"row 1 .*label is '7'; 7 is not"),
        ("hellaswag", [hellaswag("1", ("a", "", "c"))], r"row 1 .*; empty: endings\[1\]$"),
        ("hellaswag", [hellaswag("1"), hellaswag("1", ("a", None))], r"row 2 .*; empty: endings\[1\]$"),
        ("arc_easy", [arc("A"), arc("B"), arc(""), arc("")], r"row 3 .*answerKey is ''; this split has no labels"),
        ("arc_easy", [arc("A"), arc("D")], r"row 2 does not fit .*'D' is not in list.*; answerKey is 'D'$"),
        ("winogrande", [winogrande("1"), winogrande("")], r"row 2 .*KeyError.* columns .*; empty: answer$"),
        ("mmlu_anatomy", [MMLU["abstract_algebra"]["test"][0], mmlu(0), mmlu(-1)], r"row 3 has no .*answer is -1"),
    ],
)  # fmt: skip
def test_a_row_without_a_right_answer_is_refused_by_file_row_and_value(tmp_path, name, rows, message):
    path = write(tmp_path / "rows.jsonl", rows)
    with pytest.raises(ValueError, match=message) as refused:
        ours.load_tasks([name], parse_data([f"{name}={path}"]), 0)
    assert str(refused.value).startswith(f"{path}, row ")


def test_examples_without_right_answers_are_refused_too(tmp_path):
    test = write(tmp_path / "test.jsonl", [piqa(0)])
    train = write(tmp_path / "train.jsonl", [piqa(1), piqa(-1)])
    with pytest.raises(ValueError, match=r"train\.jsonl, row 2 has no right answer"):
        ours.load_tasks(["piqa"], parse_data([f"piqa={test}", f"piqa:train={train}"]), 1)


def test_a_text_among_the_answers_and_a_number_in_place_of_the_text_are_right_answers(tmp_path):
    path = write(tmp_path / "rows.jsonl", [winogrande("1"), winogrande("2")])
    task = ours.load_tasks(["winogrande"], parse_data([f"winogrande={path}"]))["tasks"]["winogrande"]
    assert [task.doc_to_text(doc) for doc in task.task_docs] == [0, 1]
    path = write(tmp_path / "piqa.jsonl", [piqa("twist"), piqa("eat")])
    task = ours.load_tasks(["piqa"], parse_data([f"piqa={path}"]))["tasks"]["piqa"]
    assert [task.doc_to_target(doc) for doc in task.task_docs] == ["twist", "eat"]


def test_ifeval_without_nltk_s_data_is_refused_before_anything_is_generated(tmp_path, monkeypatch, nltk_data):
    data = parse_data([f"ifeval={write(tmp_path / 'rows.jsonl', IFEVAL)}"])
    ours.load_tasks(["ifeval"], data)
    import nltk

    monkeypatch.setattr(nltk.data, "path", [])
    with pytest.raises(FileNotFoundError, match=r"punkt_tab, which is not on this machine .* set NLTK_DATA"):
        ours.load_tasks(["ifeval"], data)


def test_a_limit_and_examples_of_the_file_itself_still_work_for_tasks_without_examples_of_their_own(tmp_path):
    rows = [{"goal": f"open jar {i}", "sol1": "twist", "sol2": "eat", "label": i % 2} for i in range(9)]
    data = parse_data([f"piqa={write(tmp_path / 'piqa.jsonl', rows)}"])
    loaded = ours.load_tasks(["piqa"], data, 2, 3)
    loaded["tasks"]["piqa"].build_all_requests(limit=3)
    assert all(one.args[0].count("Question:") == 3 for one in loaded["tasks"]["piqa"].instances)


def test_every_model_is_shown_the_same_examples(tmp_path):
    data = parse_data(
        [
            f"gsm8k={write(tmp_path / 'q.jsonl', GSM8K['test'])}",
            f"gsm8k:train={write(tmp_path / 'e.jsonl', GSM8K['train'])}",
        ]
    )
    loaded = ours.load_tasks(["gsm8k"], data)
    asked = []
    for _ in range(2):
        ours.seed_examples(loaded)
        asked.append(asked_and_scored(loaded)[0])
    assert asked[0] == asked[1]
