"""The checks of lesson 16. Reading them before you have tried gives the answers away."""

import numpy as np

from checks import exercise, expect

SIDE, SIZE = 6, 3
MEAN, STD = np.array([0.48, 0.46, 0.41]), np.array([0.27, 0.26, 0.28])
IMAGE = 99


@exercise(hint="reshape to (rows of patches, size, columns of patches, size, 3), swap two axes, then one row a patch.")
def patches(answer):
    picture = np.arange(SIDE * SIDE * 3, dtype=float).reshape(SIDE, SIDE, 3)
    per = SIDE // SIZE
    cut = picture.reshape(per, SIZE, per, SIZE, 3)
    right = cut.transpose(0, 2, 1, 3, 4).reshape(per * per, -1)
    expect(
        answer(picture, SIZE),
        right,
        {
            "those are strips of rows, not squares: a reshape alone never brings the second row of a patch beside the "
            "first.": picture.reshape(per * per, -1),
            "down the columns first: patches come in reading order.": cut.transpose(2, 0, 1, 3, 4).reshape(
                per * per, -1
            ),
            "each patch is transposed: rows before columns inside it, too.": cut.transpose(0, 2, 3, 1, 4).reshape(
                per * per, -1
            ),
            "the colours of a pixel stand side by side here (PyTorch's convolution has them outside).": cut.transpose(
                0, 2, 4, 1, 3
            ).reshape(per * per, -1),
        },
        given=f"a picture of {SIDE} × {SIDE} and patches of {SIZE} × {SIZE}",
    )


@exercise(hint="To numbers from 0 to 1, then the training mean away, then by the deviation: each colour its own.")
def normalised(answer):
    pixels = np.array([[[0, 128, 255], [64, 10, 200]]], np.uint8)
    share = pixels / 255
    expect(
        answer(pixels, MEAN, STD),
        (share - MEAN) / STD,
        {
            "the pixels are still 0 to 255, and the mean is that of 0 to 1: the tower gets numbers hundreds of times "
            "too large.": (pixels.astype(float) - MEAN) / STD,
            "that is 0 to 1 and not normalised: no error is raised, the model is only worse.": share,
            "divide by the deviation, too.": share - MEAN,
            "first the mean, then the deviation.": share / STD - MEAN,
            "one mean for all colours; each has its own.": (share - MEAN.mean()) / STD.mean(),
        },
        given="two pixels",
    )


@exercise(hint="One placeholder for every vector that the tower gives; the class token is left out.")
def prompt(answer):
    side, size, question = 32, 8, [5, 6, 7]
    n = (side // size) ** 2
    expect(
        list(answer(side, size, question, IMAGE)),
        [IMAGE] * n + question,
        {
            "one placeholder for the whole picture: 15 of its 16 vectors have no place.": [IMAGE, *question],
            "one too many: the class token's vector is left out, so nothing is there to stand in it.": [IMAGE] * (n + 1)
            + question,
            "the question comes first: a causal decoder has then read it before it sees anything.": question
            + [IMAGE] * n,
            "that is a side's patches; a picture has their square.": [IMAGE] * (side // size) + question,
            "that is one placeholder for each pixel of a patch's side.": [IMAGE] * (size * size) + question,
        },
        given="a picture of 32 × 32, patches of 8 × 8 and a question of three tokens",
    )


@exercise(hint="Look the tokens up; then write the vectors, in order, into the rows where a placeholder stands.")
def embedded(answer):
    rng = np.random.default_rng(0)
    table, vectors = rng.normal(size=(IMAGE + 1, 4)), rng.normal(size=(3, 4))
    tokens = np.array([2, IMAGE, IMAGE, IMAGE, 7])
    right = table[tokens]
    right[1:4] = vectors
    first, added, shifted = table[tokens], table[tokens], table[tokens]
    first[1:4] = vectors[0]
    added[1:4] += vectors
    shifted[:3] = vectors
    expect(
        answer(tokens, table, vectors, IMAGE),
        right,
        {
            "every placeholder has the first vector: the k-th placeholder gets the k-th.": first,
            "the placeholder's own embedding is still there: the vectors replace it.": added,
            "the vectors stand at the beginning; the placeholders do not.": shifted,
            "those are the tokens' embeddings: the picture has not arrived.": table[tokens],
        },
        given="a token, three placeholders and a token",
    )


@exercise(hint="Position t predicts token t + 1. Weight 1 where that token is of the answer, 0 elsewhere.")
def loss_weights(answer):
    tokens = [IMAGE, IMAGE, 5, 6, 7, 8, 9]  # two placeholders, question of three, answer 8, end 9
    expect(
        list(answer(tokens, 5, IMAGE)),
        [0, 0, 0, 0, 1, 1],
        {
            "that is one position too late: the weight belongs to the position that PREDICTS the token.": [
                0,
                0,
                0,
                0,
                0,
                1,
            ],
            "there is a loss on the question, which is given: the model would learn to ask.": [0, 1, 1, 1, 1, 1],
            "there is a loss on the picture's positions: the model would learn to predict placeholders, and the loss "
            "looks splendid, for that is easy.": [1, 1, 1, 1, 1, 1],
            "one weight for each prediction: there is one fewer than tokens.": [0, 0, 0, 0, 0, 1, 1],
            "the end of the answer is learnt, too: otherwise it never stops.": [0, 0, 0, 0, 1, 0],
        },
        given="two placeholders, a question of three tokens, an answer and its end",
    )


@exercise(hint="For each question the answer that was right most often IN TRAINING; then the share right in the test.")
def blind(answer):
    train = [("q1", "a"), ("q1", "a"), ("q1", "b"), ("q2", "b"), ("q2", "b"), ("q2", "a"), ("q2", "b"), ("q1", "a")]
    train += [("q3", "c")] * 6
    test = [("q1", "b"), ("q1", "b"), ("q1", "a"), ("q2", "b"), ("q3", "c")]
    expect(
        answer(train, test),
        0.6,
        {
            "that is the commonest answer of all questions: the question itself says more.": 0.2,
            "the answers were counted in the test: then it is no prediction.": 0.8,
            "that is the share in training; ask the test's questions.": 12 / 14,
        },
        given="three questions",
    )


@exercise(hint="A test picture leaks if ANY of its digit images is in ANY training picture.")
def leaks(answer):
    train, test = (
        [(1, 2, 3, 4), (5, 6, 7, 8), (9, 1, 2, 8)],
        [(1, 2, 3, 4), (4, 10, 11, 12), (13, 14, 15, 16), (8, 2, 17, 18)],
    )
    expect(
        answer(train, test),
        0.75,
        {
            "whole pictures were compared: composed anew, nearly no picture is twice there, and its digits are.": 0.25,
            "count pictures, not digits.": 7 / 16,
        },
        given="three training pictures and four of the test",
    )


@exercise(hint="Squared distances to every code, then argmin. |p − c|² = |p|² − 2·p·c + |c|².")
def codes(answer):
    found = np.array([[0.0, 0.0], [1.0, 0.0], [10.0, 10.0]])
    given = np.array([[0.1, 0.0], [0.9, 0.2], [6.0, 7.0], [0.2, 0.4]])
    products = given @ found.T
    expect(
        answer(given, found),
        np.array([0, 1, 2, 0]),
        {
            "the largest product is not the nearest: long codes win. Use the distance.": products.argmax(axis=1),
            "that is the farthest: argmin.": ((given[:, None] - found) ** 2).sum(axis=2).argmax(axis=1),
            "distances, not the number of the nearest: argmin over the codes.": ((given[:, None] - found) ** 2).sum(
                axis=2
            ),
        },
        given="four patches and three codes",
    )
