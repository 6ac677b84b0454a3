"""How ember, the bundled tiny language model, is made: data, tokenizer, training, exam, model card.

`python tools/ember/train.py` rebuilds every shipped file from nothing but this folder and a seed.
Nothing here is imported by the product; only the files it writes are.
"""
