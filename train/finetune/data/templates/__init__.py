"""A conversation → token ids, and which of them the assistant writes.

template   which template writes it: the model's own, one of three by name, a file, or none
named      ChatML, Alpaca and Llama 3, as Jinja
guard      what users write stays ordinary text
endings    where an answer ends, if the template writes more behind it
spans      the parts of the text that the assistant writes, with the token that ends its turn
encode     parts → ids
"""
