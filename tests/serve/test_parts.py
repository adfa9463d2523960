"""The small parts of serving: the key's file, the text that may be shown, the front door of `serve vllm`."""

import ast
import http.server
import json
import os
import stat
import subprocess
import threading
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import pytest

from llm_jax.tokenizer import CharacterTokenizer, train_bpe
from serve.bench import command as bench
from serve.bench import load_test
from serve.bench.decoder import Bound
from serve.door import key, ready_message
from serve.door.listening import Door
from serve.text.continuation import Continuation
from serve.vllm import command as vllm
from serve.vllm.serving import arguments_of


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.delenv(key.VARIABLE, raising=False)
    monkeypatch.setenv("LLM_JAX_CACHE", str(tmp_path / "cache"))


def test_a_key_is_made_once_readable_by_its_owner_alone_and_found_by_the_client():
    with pytest.raises(FileNotFoundError, match="there is no API key"):
        key.for_client(None)
    mask = os.umask(0)
    try:
        secret, source = key.for_server(None)
    finally:
        os.umask(mask)
    assert stat.S_IMODE(key.default_file().stat().st_mode) == 0o600
    assert len(secret) >= 40
    assert source == str(key.default_file())
    assert key.for_server(None)[0] == key.for_client(None) == secret


def test_the_environment_wins_and_a_file_that_is_named_wins_over_it(tmp_path, monkeypatch):
    monkeypatch.setenv(key.VARIABLE, "from-the-environment")
    assert key.for_server(None) == ("from-the-environment", "$LLM_JAX_API_KEY")
    assert key.for_server(tmp_path / "named")[0] != "from-the-environment"


@pytest.mark.parametrize("content", ["", "short", "two words here", "zeilen\numbruch", "schlüssel-schlüssel"])
def test_a_key_that_could_not_be_sent_is_refused(tmp_path, content):
    path = tmp_path / "key"
    path.touch(0o600)
    path.write_text(content)
    with pytest.raises(ValueError, match="holds no usable key"):
        key.for_server(path)


def test_a_key_that_others_can_read_is_refused_with_the_cure(tmp_path):
    path = tmp_path / "key"
    path.write_text("a-fine-long-key")
    path.chmod(0o640)
    with pytest.raises(PermissionError, match=r"mode 640\): chmod 600"):
        key.for_server(path)


@pytest.mark.parametrize("stops", [["bra"], ["c", "dab"], ["abrac!", "ra"], ["zzz"], ["abracadabra"], ["a"]])
def test_a_stop_text_is_never_shown_however_the_tokens_cut_it(stops):
    text = "xx abracadabra, ä🎉 abrac"
    tokenizer = train_bpe([text], 262)
    continuation = Continuation(tokenizer, stops)
    shown = [continuation.push(token) for token in tokenizer.encode(text)]
    cut = min((text.find(stop) for stop in stops if stop in text), default=len(text))
    assert "".join(shown) + continuation.finish() == text[:cut]
    assert continuation.stopped == (cut < len(text))


def test_what_cannot_become_a_stop_text_is_shown_at_once():
    tokenizer = train_bpe([""], 257)
    continuation = Continuation(tokenizer, ["END"])
    assert [continuation.push(token) for token in b"an EN, E"] == ["a", "n", " ", "", "", "EN,", " ", ""]
    assert continuation.finish() == "E"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"gpu_memory_utilization": 1.5}, "between 0 and 1; got 1.5"),
        ({"max_num_seqs": 0}, "max_num_seqs must be at least 1; got 0"),
        ({"more": ("--api-key", "secret")}, "--api-key is set here; the key comes from"),
        ({"more": ("--api_key=secret",)}, "--api_key is set here"),
        ({"more": ("--middleware", "a.b")}, "--middleware is set here"),
        ({"more": ("--host", "0.0.0.0")}, "--host is set here"),
    ],
)
def test_serve_vllm_refuses_what_makes_no_sense(fields, message):
    with pytest.raises(ValueError, match=message):
        vllm.Options(Path("model"), **fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"port": 65536}, "port must lie between 0 and 65535; got 65536"),
        ({"max_requests": 0}, "max_requests must be at least 1; got 0"),
        ({"max_model_len": 0}, "max_model_len must be at least 1; got 0"),
        ({"shutdown_timeout": -1}, "shutdown_timeout must be 0 seconds or more; got -1"),
    ],
)
def test_a_door_refuses_what_makes_no_sense(fields, message):
    with pytest.raises(ValueError, match=message):
        Door(**fields)


def test_a_door_serves_no_longer_sequences_than_the_model_reads():
    assert Door().context(1024) == 1024
    assert Door(max_model_len=100).context(1024) == 100
    with pytest.raises(ValueError, match="max_model_len is 2048; the model's context is 1024"):
        Door(max_model_len=2048).context(1024)


def test_flags_after_two_dashes_reach_vllm_as_they_are():
    options = vllm.parse(["folder", "--port", "9000", "--", "--enable-lora", "--max-loras", "2"])
    given = arguments_of(options, 9000, on_cpu=False, architecture="LlamaForCausalLM")
    assert given[-3:] == ["--enable-lora", "--max-loras", "2"]
    assert ("--port", "9000") in pairwise(given)
    assert ("--dtype", "bfloat16") in pairwise(given)
    assert ("--dtype", "float32") in pairwise(arguments_of(options, 9000, on_cpu=True, architecture="LlamaForCausalLM"))
    assert "--api-key" not in given


def test_the_examples_hold_where_the_key_is_and_never_the_key():
    shown = ready_message.how_to_call("127.0.0.1", 8000, "tiny", "/home/me/api-key")
    assert "$(cat '/home/me/api-key')" in shown
    assert 'pathlib.Path("/home/me/api-key").read_text().strip()' in shown
    assert 'os.environ["LLM_JAX_API_KEY"]' in ready_message.how_to_call("::", 80, "tiny", "$LLM_JAX_API_KEY")


class Recorder(http.server.BaseHTTPRequestHandler):
    """Keeps what it is sent."""

    seen: ClassVar[list] = []

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.seen.append((self.headers["Authorization"], body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("name", ["tiny", 'it\'s "$HOME" é'])
def test_the_curl_example_works_when_pasted_whatever_the_names_hold(tmp_path, name):
    file = tmp_path / f"{name} key"
    file.write_text("a-key-of-this-test\n")
    with http.server.HTTPServer(("127.0.0.1", 0), Recorder) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        shown = ready_message.how_to_call("127.0.0.1", server.server_port, name, str(file), "it's", 5)
        curl = shown[shown.index("curl http") : shown.index("with Python")]
        subprocess.run(["bash", "-c", curl], check=True, capture_output=True, timeout=30)
        thread.join(30)
    assert Recorder.seen[-1] == ("Bearer a-key-of-this-test", {"model": name, "prompt": "it's", "max_tokens": 5})
    python = shown[shown.index("import openai") : shown.index("in the terminal")]
    assert {name, "it's", str(file)} <= {node.value for node in ast.walk(ast.parse(python)) if hasattr(node, "value")}


@pytest.mark.parametrize("context", [2, 32, 1024])
@pytest.mark.parametrize("alphabet", ["abcdefghijklmnopqrstuvwxyz ", "xyz", "0123", "ABCdefghinoOptuamec "])
def test_the_example_s_prompt_is_made_of_known_tokens_and_fits(alphabet, context):
    tokenizer = CharacterTokenizer(sorted(set(alphabet)))
    prompt, max_tokens = ready_message.request_for(tokenizer, context)
    assert 0 < len(tokenizer.encode(prompt)) + max_tokens <= context
    assert 1 <= max_tokens <= 32


def test_a_bound_is_that_of_memory_for_few_and_of_arithmetic_for_many():
    bound = Bound(1000, 10, 500, bytes_per_second=1e6, flops_per_second=1e7)
    assert bound.tokens_per_second(1) == pytest.approx(1e6 / 1010)
    assert bound.tokens_per_second(100) == pytest.approx(1e7 / 500)


@pytest.mark.parametrize("seconds", [-1, 0, float("nan"), float("inf")])
def test_a_benchmark_s_time_is_above_zero_and_ends(seconds):
    with pytest.raises(ValueError, match=f"seconds must be above 0 and finite; got {seconds}"):
        bench.Options("http://127.0.0.1:1", seconds=seconds)


def test_a_benchmark_looks_for_the_model_before_it_measures():
    with pytest.raises(FileNotFoundError, match="/nowhere/model"):
        bench.main(bench.Options("http://127.0.0.1:1", model=Path("/nowhere/model")))


@pytest.mark.parametrize("whole", [0, 1, 2])
def test_ctrl_c_in_a_benchmark_keeps_what_is_measured(whole, tmp_path, monkeypatch):
    levels = [load_test.Level(n, 4, 0, 1.0, 10.0 * n, (1, 2), (1, 2), (1, 2)) for n in (1, 2)][:whole]

    def measure(*arguments):
        if not levels:
            raise KeyboardInterrupt
        return levels.pop(0)

    class Remote:
        url, name = "http://127.0.0.1:1", "tiny"

    monkeypatch.setattr("serve.text.client.Remote", lambda *_: Remote)
    monkeypatch.setattr(load_test, "with_clients", measure)
    options = bench.Options("http://127.0.0.1:1", concurrency=(1, 2, 4), requests=4, tool="own", out=tmp_path)
    if whole == 0:
        with pytest.raises(KeyboardInterrupt):
            bench.main(options)
        assert not (tmp_path / "bench.json").exists()
    else:
        assert bench.main(options) == 130
        assert len(json.loads((tmp_path / "bench.json").read_text())["server"]) == whole


def test_a_benchmark_keeps_what_the_first_lost_request_was_told(monkeypatch):
    class Completions:
        def create(self, prompt, stream=False, **fields):
            if stream:
                raise ValueError(f"no room for {prompt}")

    class Remote:
        url, name = "http://127.0.0.1:1", "tiny"

    Connected = type("Connected", (), {"completions": Completions()})
    monkeypatch.setattr("serve.text.client.connect", lambda *_: Connected)
    level = load_test.with_clients(Remote, ["one", "two"], 1, new_tokens=4, seconds=60, key_file=None)
    assert (level.completed, level.failed, level.error) == (0, 2, "no room for one")


def test_a_benchmark_sends_the_same_different_prompts_each_time():
    texts = load_test.prompts(20, 32)
    assert texts == load_test.prompts(20, 32)
    assert len(set(texts)) == 20
    assert {len(text.split()) for text in texts} == {32}
