"""Reading and writing files.

whole        a file or folder is written completely or not at all
json_files   JSON, and logs of one JSON object a line; a fault names its file and line
faults       an error of the operating system as one line: path, cause, cure
content/     what a file is by its first bytes, and its text
pictures     a picture that somebody has sent → pixels, in bounded memory
page/        a result as one HTML page without network
"""

from llm_jax.files.whole import exchange, replacing, replacing_folder, replacing_path, write

__all__ = ["exchange", "replacing", "replacing_folder", "replacing_path", "write"]
