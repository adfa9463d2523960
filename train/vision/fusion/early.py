"""Early fusion (Chameleon, 2024): a picture is a row of small patches, each the nearest of K, and these are tokens.

One vocabulary, one embedding, one softmax for words and patches. The loss is on the picture's tokens too, so the model
can draw: a quarter of the rows (at least one) are words, then the picture of them. The K patches are found by k-means
on training pictures. What the nearest patch does not show is lost.
"""

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.cluster.vq import kmeans2

from llm_jax.config import DecoderConfig
from llm_jax.decode.loop import generate, prepare
from llm_jax.decode.options import Sampling
from llm_jax.models import decoder
from llm_jax.models.vision_language.parameters import count
from llm_jax.models.vision_language.tower import patches
from llm_jax.shapes import Array, Float, Int, pytree
from train.vision import flops
from train.vision.data.world import Sample
from train.vision.fusion.base import Answered, Rows, Task, answered, fresh_decoder, mean_loss, rows
from train.vision.fusion.pipeline import run_stage
from train.vision.fusion.reading import Reading
from train.vision.training import Progress, Stage

SEEN_WEIGHT, DRAWN_WEIGHT = 0.05, 0.25  # of a picture's token in the loss; a word of the answer has 1
DRAWN = 4  # one row in so many is to be drawn
FIT_PICTURES = 500  # whose patches k-means sees
ROUNDS = 20  # of k-means


@pytree
class Parameters:
    text: decoder.Decoder
    codes_KI: Float[Array, "K I"]  # the patches that are tokens


class Early:
    name = "early"

    def __init__(self, task: Task):
        config, side = task.config, task.world.image_size
        if side % config.code_patch:
            raise ValueError(f"code_patch must divide the pictures' side of {side} pixels; got {config.code_patch}")
        self.task = task
        self.per_side = side // config.code_patch
        self.n_codes = self.per_side**2
        self.first_code = task.words.vocab_size
        self.length = 1 + self.n_codes + max(task.asked_length, len(task.world.places))
        self.config: DecoderConfig = config.decoder(self.first_code + config.codes, self.length)
        cost = flops.TRAINED * flops.decoder(self.config, self.length)
        self.stage = Stage("decoder over words and patches", self._loss, cost, config.rate)
        self.reading = Reading(task)
        for seed in config.all_seeds:
            self._different_patches(seed)  # too few are an error before anything is trained

    def train(self, seed: int, progress: Progress) -> tuple[Parameters, list[dict[str, Any]]]:
        codes_KI = self.fit_codes(seed)
        text = fresh_decoder(seed, self.config)
        config = self.task.config
        common = (config.budget, self.task.world, config.batch_size, seed, progress)
        text, record = run_stage(self.stage, text, codes_KI, *common)
        return Parameters(text, codes_KI), [record]

    def fit_codes(self, seed: int) -> Float[Array, "K I"]:
        """k-means of the patches of training pictures; patches that occur twice count once."""
        distinct = self._different_patches(seed)
        first = np.random.default_rng(seed).choice(distinct, self.task.config.codes, replace=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a code without patches stays where it is
            found, _ = kmeans2(distinct, first, ROUNDS, minit="matrix")
        return jnp.asarray(found, jnp.float32)

    def _different_patches(self, seed: int) -> np.ndarray:
        """Patches of training pictures, each once. Raises ValueError if they are fewer than the codes."""
        world, size = self.task.world, self.task.config.code_patch
        key = jax.random.key(seed)
        drawn = jax.jit(lambda store: patches(world.draw(store, key, 0, FIT_PICTURES).pixels_BYXC, size))(world.store)
        distinct = np.unique(np.asarray(drawn).reshape(-1, drawn.shape[-1]).round(3), axis=0)
        if len(distinct) < self.task.config.codes:
            raise ValueError(
                f"codes must be at most the number of different patches, {len(distinct)}; got {self.task.config.codes}"
            )
        return distinct

    def encode(self, codes_KI: Float[Array, "K I"], pixels_BYXC: Array) -> Int[Array, "B P"]:
        """The token of each patch: that of the nearest code."""
        patches_BPI = patches(jnp.asarray(pixels_BYXC), self.task.config.code_patch)
        distance_BPK = (codes_KI**2).sum(axis=1) - 2 * patches_BPI @ codes_KI.T  # the patch's own square is left out
        return self.first_code + distance_BPK.argmin(axis=-1)

    def paint(self, codes_KI: np.ndarray, tokens_BP: np.ndarray) -> np.ndarray:
        """Pictures from tokens; a token that is no patch leaves its place black."""
        number_BP = np.asarray(tokens_BP) - self.first_code
        is_code_BP = (number_BP >= 0) & (number_BP < len(codes_KI))
        patches_BPI = np.where(is_code_BP[..., None], np.asarray(codes_KI)[np.where(is_code_BP, number_BP, 0)], 0)
        size, per = self.task.config.code_patch, self.per_side
        cut = patches_BPI.reshape(-1, per, per, size, size, 3)
        return cut.transpose(0, 1, 3, 2, 4, 5).reshape(-1, per * size, per * size, 3)

    def draw(self, params: Parameters, labels_BK: np.ndarray, seed: int, temperature: float = 0.7) -> np.ndarray:
        """Pictures of these words, token by token."""
        begin_B1 = np.full((len(labels_BK), 1), self.task.words.image_token)
        prompts = np.concatenate([np.asarray(self.reading.caption(jnp.asarray(labels_BK))), begin_B1], axis=1)
        sampling = Sampling(temperature=temperature, seed=seed)
        plan = self.task.plan
        ready = prepare(params.text, plan, len(prompts))
        drawn = generate(ready, prompts.tolist(), self.config, plan, sampling, self.n_codes)
        return self.paint(np.asarray(params.codes_KI), np.array(drawn))

    def hidden(self, params: decoder.Decoder, row: Rows) -> Float[Array, "B T D"]:
        tokens_BT, branches_BT = row.tokens_BT[:, :-1], row.branches_BT[:, :-1]
        return decoder.forward(params, tokens_BT, self.config, self.task.plan, branches_BT=branches_BT)[0]

    def answer(self, params: Parameters, sample: Sample) -> Answered:
        row = self._asked(params.codes_KI, sample)
        is_answer_BT = row.weights_BT == 1
        return answered(params.text, self.hidden(params.text, row), row, is_answer_BT, self.config, self.task.plan)

    def _asked(self, codes_KI: Array, sample: Sample) -> Rows:
        """Picture, question, answer."""
        row = rows(self.task.words, self._picture(codes_KI, sample), sample)
        return self._padded(row, slice(1, 1 + self.n_codes), SEEN_WEIGHT)

    def _to_draw(self, codes_KI: Array, sample: Sample) -> Rows:
        """Words, picture."""
        caption_BK, picture_BP = self.reading.caption(sample.labels_BK), self._picture(codes_KI, sample)
        tokens_BT = jnp.concatenate([caption_BK, picture_BP], axis=1)
        row = Rows(tokens_BT, jnp.zeros(tokens_BT.shape), jnp.zeros_like(tokens_BT), sample.question_BM * 0)
        first = caption_BK.shape[1] + 1
        return self._padded(row, slice(first, first + self.n_codes), DRAWN_WEIGHT)

    def _picture(self, codes_KI: Array, sample: Sample) -> Int[Array, "B P"]:
        begin_B1 = jnp.full((len(sample.question_BM), 1), self.task.words.image_token, jnp.int32)
        return jnp.concatenate([begin_B1, self.encode(codes_KI, sample.pixels_BYXC)], axis=1)

    def _padded(self, row: Rows, picture: slice, weight: float) -> Rows:
        """All rows of one length, with the picture's part in the loss."""
        more = ((0, 0), (0, self.length - row.tokens_BT.shape[1]))
        tokens_BT = jnp.pad(row.tokens_BT, more, constant_values=self.task.words.end)
        weights_BT = jnp.pad(row.weights_BT, more).at[:, picture].set(weight)
        return Rows(tokens_BT, weights_BT, jnp.pad(row.branches_BT, more, mode="edge"), row.first_BM)

    def _loss(self, params: decoder.Decoder, codes_KI: Array, sample: Sample, key: Array) -> Array:
        del key
        n_drawn = max(1, len(sample.question_BM) // DRAWN)
        drawn, asked = (
            jax.tree.map(lambda x, part=part: x[part], sample) for part in (slice(n_drawn), slice(n_drawn, None))
        )
        both = zip(self._asked(codes_KI, asked), self._to_draw(codes_KI, drawn), strict=True)
        row = Rows(*(jnp.concatenate(parts) for parts in both))
        return mean_loss(params, self.hidden(params, row), row, self.config, self.task.plan)

    def sizes_of(self, params: Parameters) -> dict[str, int]:
        return {"decoder": count(params.text), "codes": int(params.codes_KI.size)}
