"""Requests → events: one batch decodes for all clients, and requests join and leave it between steps.

requests   what the engine is asked and what it answers
sizes      rows and columns of the batch, as few as the running requests need
batch      prompts, samplings and rows: the cache, one program a size
engine     the thread that decides which request has which row
start      an engine whose programs are compiled before the first client comes
"""
