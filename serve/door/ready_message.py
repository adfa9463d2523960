"""What a server prints when it is ready: calls that work when pasted, in which the key is read from where it is."""

from serve.door import listening

CURL = """
curl {address}/v1/completions -H "Authorization: Bearer {shell_key}" -H "Content-Type: application/json" \\
  -d '{{"model": "{name}", "prompt": "Once upon a time", "max_tokens": 32}}'
"""

PYTHON = """
import openai, os, pathlib  # pip install openai
client = openai.OpenAI(base_url="{address}/v1", api_key={python_key})
answer = client.completions.create(model="{name}", prompt="Once upon a time", max_tokens=32, stream=True)
for piece in answer:
    print(piece.choices[0].text, end="", flush=True)
"""


def how_to_call(host: str, port: int, name: str, key_source: str) -> str:
    """`key_source` is a file's path or `$VARIABLE`."""
    address = listening.url(host, port)
    if key_source.startswith("$"):
        shell, python = key_source, f'os.environ["{key_source[1:]}"]'
    else:
        shell, python = f"$(cat '{key_source}')", f'pathlib.Path("{key_source}").read_text().strip()'
    fields = {"address": address, "name": name, "shell_key": shell, "python_key": python}
    return (
        f"ready: {address}/v1\n\nwith curl:\n{CURL.format(**fields)}\nwith Python:\n{PYTHON.format(**fields)}\n"
        f"in the terminal: python -m serve chat {address}\n\nCtrl-C or SIGTERM ends it."
    )
