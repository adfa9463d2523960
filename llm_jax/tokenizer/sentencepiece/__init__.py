"""SentencePiece (Kudo & Richardson 2018): its files, and what its two algorithms share.

protobuf.py            the fields of a protocol buffer
model_file.py          tokenizer.model, read and written
as_tokenizer_json.py   such a model as a tokenizer.json
tokenizer.py           a `Tokenizer` from a model whose ids a tokenizer.json cannot give
normalizer.py          what such a model does to a text before it is cut; character_map.py: its table, read
nfkc_table.py          NFKC as the table of characters of such a model; double_array.py: its form
normalization.py       the same for vocabularies that are learnt here
corpus.py              texts → words with their counts
scripts.py             the script of a character
vocabulary.py          pieces ↔ ids, with byte fallback; the base of unigram/ and pair_encoding.py
pair_encoding.py       byte-pair encoding over characters, as in Llama 2
"""
