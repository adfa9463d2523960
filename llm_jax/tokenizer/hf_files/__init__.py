"""Hugging Face's tokenizer files.

tokenizer_json.py   the vocabulary, read
soundness.py        what is refused in any of them
vocab_merges.py     the older pair vocab.json and merges.txt, read
companions.py       the small files beside them, which name special tokens
class_settings.py   what a class of transformers changes in a tokenizer.json
bert_class.py       BERT's class and its settings
post_processor.py   what a tokenizer.json puts before a text
saving.py           tokenizer.json and tokenizer_config.json, written
chat_templates.py   chat_template.jinja and its older place, read and written
carried.py          files that are copied and never rewritten
"""
