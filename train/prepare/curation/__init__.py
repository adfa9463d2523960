"""Curation through datatrove: `python -m train curate`.

recipe      FineWeb's filters and MinHash parameters, as datatrove steps
stage       what a stage is, and where it keeps its work
stages      the chain: filter, four stages of deduplication, tokenize, assemble; and how it runs on this machine
on_slurm    the chain as job arrays that wait for each other
"""
