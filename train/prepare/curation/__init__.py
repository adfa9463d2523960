"""Curation through datatrove: `python -m train curate`.

languages   names, thresholds and stop words of each language, from `languages.toml`
recipe      filters of FineWeb and FineWeb-2, and MinHash parameters, as datatrove steps
stage       what a stage is, and where it keeps its work
report      documents that each filter removed, from datatrove's statistics
stages      the chain: filter, four stages of deduplication, tokenize, assemble; and how it runs on this machine
on_slurm    the chain as job arrays that wait for each other
"""
