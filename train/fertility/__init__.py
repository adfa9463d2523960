"""Fertility: how many tokens the same text costs in each language and under each tokenizer.

config       settings
texts        files → texts; texts that are compared are translations line by line
words        where the words of a text are, if that is known; segmenters: programs that find them
measure      one text under one tokenizer → counts
analysis     all texts and tokenizers → one record
report       the record in the terminal and as CSV
pictures     heat map and bars
page         the record and the tokens themselves as one HTML file (page.js)
"""
