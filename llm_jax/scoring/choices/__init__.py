"""The file of choices: the log-probability of every answer of every item, from which any figure can be computed later.

values     the choices of a model on a task, as arrays, checked
ours       the file that `serve evaluate --log-choices` writes
harness    the files of lm-evaluation-harness's `--log_samples`
means      CSV files of means alone, an item a line (arXiv 2504.07825)
items      the right answers, groups and subsets of a data file, for files that have none
rules      scoring rules: the choices of a model → what an item counts
reading    a name on the command line → choices; which of the three formats a file has
"""
