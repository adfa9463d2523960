"""Messages → the text that a chat model was trained on, by the Jinja template in its folder.

messages.py    messages in the form of OpenAI's interface, checked
rendering.py   the template applied: its text, and the parts that the assistant writes
process.py     the process that runs templates, started once
worker.py      what that process does
"""

from llm_jax.tokenizer.chat.messages import NO_TEMPLATE, checked
from llm_jax.tokenizer.chat.rendering import Rendered, encode, render

__all__ = ["NO_TEMPLATE", "Rendered", "checked", "encode", "render"]
