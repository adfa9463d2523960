"""`load` by name and by path, rank files, and what is said when something is not there."""

import base64
import hashlib
import subprocess
import sys

import pytest
import tiktoken

from llm_jax.tokenizer import CL100K_PATTERN, GPT2_PATTERN, load
from llm_jax.tokenizer.pretrained import TIKTOKEN_NAMES


def cached(shared_data, url):
    return shared_data / "tiktoken" / hashlib.sha1(url.encode()).hexdigest()


def test_fingerprint_is_the_same_whatever_file_the_vocabulary_came_from(gpt2, shared_data, tmp_path):
    special = {"<|endoftext|>": 50256}
    r50k = cached(shared_data, "https://openaipublic.blob.core.windows.net/encodings/r50k_base.tiktoken")
    gpt2.save(tmp_path)
    gpt2.save_ranks(tmp_path / "gpt2.tiktoken")
    again = [
        load(r50k, GPT2_PATTERN, special),
        load(r50k, tiktoken.get_encoding("gpt2")._pat_str, special),
        load(tmp_path / "gpt2.tiktoken", GPT2_PATTERN, special),
        load(tmp_path),
    ]
    assert {tokenizer.fingerprint for tokenizer in again} == {gpt2.fingerprint}
    assert {tokenizer.name for tokenizer in again} == {"gpt2"}
    assert load(r50k, CL100K_PATTERN, special).fingerprint != gpt2.fingerprint


def test_names_and_fingerprints_of_openai_vocabularies_belong_together(openai):
    # The constants in pretrained.py; a change of them breaks every manifest and checkpoint there is.
    ours, theirs = openai
    assert load(ours.name).fingerprint == ours.fingerprint
    from llm_jax.tokenizer.pretrained import _NAME_OF_FINGERPRINT

    assert _NAME_OF_FINGERPRINT[ours.fingerprint] == ours.name == theirs.name


@pytest.fixture
def cache_with_p50k(shared_data, tmp_path, monkeypatch):
    """A tiktoken cache with p50k_base: GPT-2's ranks, and after the end token the runs of 2 to 25 spaces."""
    url = "https://openaipublic.blob.core.windows.net/encodings/{}.tiktoken"
    r50k = cached(shared_data, url.format("r50k_base"))
    spaces = [base64.b64encode(b" " * n).decode() + f" {50_255 + n}\n" for n in range(2, 26)]
    made = r50k.read_bytes() + "".join(spaces).encode()
    # tiktoken's own hash of the published file
    assert hashlib.sha256(made).hexdigest() == "94b5ca7dff4d00767bc256fdd1b27e5b17361d7b8a5f968547f9f23eb70d2069"
    for name, raw in (("r50k_base", r50k.read_bytes()), ("p50k_base", made)):
        (tmp_path / hashlib.sha1(url.format(name).encode()).hexdigest()).write_bytes(raw)
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))


@pytest.mark.parametrize("name", ["r50k_base", "p50k_base", "p50k_edit"])
def test_older_openai_vocabularies_have_tiktokens_ids(cache_with_p50k, name):
    from tiktoken_ext.openai_public import ENCODING_CONSTRUCTORS

    ours, theirs = load(name), tiktoken.Encoding(**ENCODING_CONSTRUCTORS[name]())
    assert name in TIKTOKEN_NAMES
    assert (ours.name, ours.vocab_size, ours.special_tokens) == (name, theirs.n_vocab, theirs._special_tokens)
    text = "def f(x):\n" + "".join(" " * n + "x\n" for n in range(30)) + "<|endoftext|><|fim_middle|> 😀 தமிழ்"
    assert ours.encode(text, "all") == theirs.encode(text, allowed_special="all")
    assert ours.encode_array(text).tolist() == theirs.encode_ordinary(text)
    assert ours.end_of_text == 50_256
    from llm_jax.tokenizer.pretrained import _NAME_OF_FINGERPRINT

    assert _NAME_OF_FINGERPRINT[ours.fingerprint] == {"r50k_base": "gpt2"}.get(name, name)


def test_tiktoken_reads_the_rank_file_we_write(small_bpe, tmp_path):
    from tiktoken.load import load_tiktoken_bpe

    small_bpe.save_ranks(tmp_path / "small.tiktoken")
    assert load_tiktoken_bpe(str(tmp_path / "small.tiktoken")) == small_bpe.ranks
    again = load(tmp_path / "small.tiktoken", GPT2_PATTERN, small_bpe.special_tokens)
    assert again.fingerprint == small_bpe.fingerprint


@pytest.mark.parametrize("line", ["YWI=", "YWI= x", "!!! 256", "YQ== 256", "YWI= 256 7"])
def test_a_faulty_line_of_a_rank_file_is_named(small_bpe, tmp_path, line):
    file = tmp_path / "small.tiktoken"
    small_bpe.save_ranks(file)
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines[:300], line, *lines[301:]]))
    with pytest.raises(ValueError, match=r"small\.tiktoken: line 301: expected `base64\(token\) rank`"):
        load(file, GPT2_PATTERN)


def test_a_rank_file_without_a_line_or_a_pattern_is_refused(small_bpe, tmp_path):
    file = tmp_path / "small.tiktoken"
    small_bpe.save_ranks(file)
    with pytest.raises(ValueError, match=r"small\.tiktoken: a file of ranks only: .*pattern"):
        load(file)
    lines = file.read_text().splitlines()
    file.write_text("\n".join(lines[:300] + lines[301:]))
    with pytest.raises(ValueError, match=r"small\.tiktoken: .*found 301 .* where 300 belongs"):
        load(file, GPT2_PATTERN)


def test_a_missing_vocabulary_names_the_cache_variable(monkeypatch, tmp_path):
    import requests

    def no_network(url):
        raise requests.exceptions.ConnectionError("no network")

    monkeypatch.setattr(requests, "get", no_network)
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    for name in TIKTOKEN_NAMES:
        with pytest.raises(FileNotFoundError, match=rf"'{name}' .*TIKTOKEN_CACHE_DIR={tmp_path}.*no network"):
            load(name)


def test_a_path_that_is_not_there_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "notes.txt").touch()
    for missing in ("nosuch", "./no/such", tmp_path / "nosuch", "runs/nosuch", "a/b/c"):
        with pytest.raises(FileNotFoundError, match="no tokenizer"):
            load(missing)
    with pytest.raises(FileNotFoundError, match=r"runs has no tokenizer\.json; found \['notes\.txt'\]"):
        load("runs")


def test_a_hub_name_is_downloaded_and_a_failure_explained(small_bpe, tmp_path, monkeypatch):
    import huggingface_hub

    small_bpe.save(tmp_path)

    def download(repository, filename):
        if repository != "owner/name":
            raise OSError("no network")
        return str(tmp_path / filename)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    assert load("owner/name").fingerprint == small_bpe.fingerprint
    with pytest.raises(FileNotFoundError, match=r"'owner/other'.*Hugging Face hub .*no network"):
        load("owner/other")


def test_importing_the_package_imports_nothing_heavy():
    heavy = "jax transformers torch datasets tokenizers huggingface_hub tiktoken requests"
    code = f"import sys, llm_jax.tokenizer; print(sorted(set({heavy.split()}) & sys.modules.keys()))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
