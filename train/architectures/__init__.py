"""Encoder, encoder–decoder and decoder side by side: `python -m train architectures TASK`.

config         the options, as a value
recipes        sizes and schedules of each task
pairs          source → target: copy, reversal, numbers in words, files of words and phonemes
batches        pairs of similar length together, padded to few shapes
training       one step and one loop for every model of this room
transduction   copy, reversal and g2p: an encoder–decoder learns pairs, and is measured by greedy and beam search
cloze          a masked language model on running text, saved as a Hugging Face directory
spam           a classifier of texts on top of such an encoder, beside one from scratch
comparison/    three models of equal parameters and FLOPs on three tasks, and the arithmetic behind the outcome
"""
