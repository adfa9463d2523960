"""Files → examples as text.

tables     files, folders and datasets → rows, each with the place where it stands
kinds      what a row is, by the names of its columns
turns      messages of OpenAI's or ShareGPT's form, checked
records    a row → a conversation, two answers to one, or a labelled text
fill       {{NAME}} written out
read       all of it: places and records
"""
