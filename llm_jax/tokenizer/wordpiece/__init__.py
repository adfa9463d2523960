"""WordPiece from scratch (Schuster & Nakajima 2012; Devlin et al. 2018, BERT).

words.py        text → words: BERT's cleaning, lower case, punctuation
vocabulary.py   words ↔ ids: greedy longest match
vocab_file.py   BERT's vocab.txt, read
train.py        learning a vocabulary
"""
