"""What curation does to a text: `python -m train critique`.

documents       files → documents with labels
words           which word tokenizer the filters use
rules           every rule of datatrove's filters: quantity, threshold, side
measure         a document → the quantities that the filters compare, recorded by their thresholds
removal         what each rule removes alone, in order, and if left out; by label; histograms; examples
duplicates      MinHash: clusters, and the S-curve against measurement
contamination   n-grams shared with benchmarks, and accuracy on clean and dirty items
training        bits per byte with and without a filter, at equal tokens
analysis        all of it as one record
report, page    the record in the terminal and as one HTML file
"""
