"""The Hugging Face hub: a model's files from the local cache, or downloaded into it."""

from collections.abc import Mapping, Sequence
from pathlib import Path


def download(name: str, files: Sequence[str], short_names: Mapping[str, str] | None = None) -> Path:
    """The folder with these files of a hub model, from the local cache or the hub.

    Args:
        name: `owner/name`.
        files: names or patterns of the files that are needed.
        short_names: what people write instead of a name, for the message.

    Raises:
        FileNotFoundError: the name has another form, or neither cache nor hub has the model.
    """
    if name.count("/") != 1 or name.startswith((".", "/")):
        meant = (short_names or {}).get(name)
        hint = f"; did you mean {meant}?" if meant else ""
        raise FileNotFoundError(
            f"{name}: no such directory, and no owner/name of a model on the Hugging Face hub{hint}"
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=list(files)))
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise FileNotFoundError(
            f"{name} is neither a directory here nor in the hub's cache, and the hub did not answer "
            f"({type(error).__name__}): check the name and the network, or give a directory"
        ) from None
