"""Curation through datatrove: `python -m train curate`.

languages   names, thresholds and stop words of each language, from `languages.toml`
recipe      filters of FineWeb and FineWeb-2, and MinHash parameters, as datatrove steps
stage       the type of a stage, and the folder of its work
report      documents that each filter removed, from datatrove's statistics
stages      the chain: filter, four stages of deduplication, tokenize, assemble; runs it on this machine
on_slurm    submits the chain as job arrays, each waiting for the one before
"""
