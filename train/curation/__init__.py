"""Curation through datatrove: `python -m train curate`.

recipe    FineWeb's filters and MinHash parameters, as datatrove steps
stages    the chain: filter, four stages of deduplication, tokenize, assemble; on this machine or on SLURM
"""
