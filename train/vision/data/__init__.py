"""Pictures with questions about them.

world       what a set of pictures is: how to draw training examples, and the tests
composites  four digits, each in one colour, made by code from digit images
easy_vqa    shapes, from the package easy-vqa
words       the vocabulary, and every question with every answer as a row of tokens
"""
