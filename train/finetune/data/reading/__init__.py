"""Files → examples as text.

tables     files, folders and datasets → rows, each with the place where it stands
kinds      what a row is, by the names of its columns
fields     the values of a row: NaN, and lists that are written as JSON
unread     rows of other splits and columns that the kind does not use, counted
turns      messages of OpenAI's or ShareGPT's form, checked
prompts    what stands before an answer
records    a row → a conversation, two answers to one, or a labelled text
fill       {{NAME}} written out
read       all of it: places and records
"""
