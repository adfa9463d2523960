"""How a model's makers say that its next tokens are drawn: `generation_config.json`, as transformers writes it."""

from dataclasses import replace
from pathlib import Path

from llm_jax.decode.options import Sampling
from llm_jax.tokenizer.hf_files.companions import GENERATION_CONFIG, read_object


def suggested_sampling(folder: Path | None, otherwise: Sampling) -> Sampling:
    """What the file in `folder` names, and `otherwise` for the rest; greedy where it says `do_sample: false`.

    Raises:
        ValueError: a value is no number, or not one that sampling allows; the message names the file.
    """
    path = folder / GENERATION_CONFIG if folder else None
    if path is None or not path.is_file():
        return otherwise
    said = read_object(path)
    named = {name: said[name] for name in ("temperature", "top_k", "top_p", "min_p") if said.get(name) is not None}
    for name, value in named.items():
        if type(value) not in ((int,) if name == "top_k" else (int, float)):
            raise ValueError(f"{path}: {name} is {value!r}; expected a {'whole ' * (name == 'top_k')}number")
    if said.get("do_sample") is False:
        named["temperature"] = 0.0
    elif named:  # the makers draw: what they leave out changes nothing
        otherwise = replace(otherwise, temperature=1.0, top_k=0, top_p=1.0, min_p=0.0)
    try:
        return replace(otherwise, **named)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
