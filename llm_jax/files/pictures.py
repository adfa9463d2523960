"""A picture that somebody has sent → its pixels, in bounded memory, or a refusal that names what is wrong with it.

Pillow decodes. Before it does, the format is read from the file's first bytes and the size from its header, so that a
small file that unpacks to gigabytes is refused unread. Grey, 16-bit, CMYK and palette pictures become RGB; transparent
ones are laid on white, as vLLM does; a photograph is turned as its EXIF data say, if they can be read. Of a photograph
with several pictures in one JPEG (MPO) the first is read. An animation is refused.
"""

import io
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
MOST_BYTES = 3 * 2**20  # of a file
MOST_PIXELS = 2**24  # 4096 × 4096: 50 MB as RGB
WHITE = (255, 255, 255)
ALPHA = ("RGBA", "LA", "PA", "RGBa", "La")
PLAIN = ("RGB", "L", "1", "P", "CMYK", "YCbCr")


def read(content: bytes, name: str = "the picture") -> np.ndarray:
    """The pixels (rows, columns, 3), unsigned bytes. Raises ValueError that begins with `name`."""
    from PIL import Image, UnidentifiedImageError

    if not content:
        raise ValueError(f"{name} is empty")
    if len(content) > MOST_BYTES:
        raise ValueError(f"{name} has {len(content):,} bytes; the most is {MOST_BYTES:,}: send a smaller one")
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
            _refuse_large(picture.size, name)
            if getattr(picture, "is_animated", False) and picture.format != "MPO":  # a photograph, its first picture
                raise ValueError(f"{name} is an animation: send one of its pictures")
            picture.load()
            return np.asarray(_as_rgb(_upright(picture), name))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ValueError(f"{name} has more than {MOST_PIXELS:,} pixels: send a smaller one") from None
    except UnidentifiedImageError:
        raise ValueError(f"{name} is none of {', '.join(FORMATS)}, or its beginning is damaged") from None
    except ValueError as error:
        raise error if str(error).startswith(name) else _damaged(name, error) from None
    except Exception as error:  # of a damaged file a decoder raises whatever it stumbles over
        raise _damaged(name, error) from None


def resized(pixels: np.ndarray, side: int) -> np.ndarray:
    """The picture as a square of `side` pixels, bicubic, as CLIP's image processor of transformers resizes it."""
    from PIL import Image

    if pixels.shape[:2] == (side, side):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC))


def _refuse_large(size: tuple[int, int], name: str) -> None:
    if size[0] * size[1] > MOST_PIXELS:
        raise ValueError(
            f"{name} has {size[0]:,} × {size[1]:,} pixels; the most is {MOST_PIXELS:,} together: send a smaller one"
        )


def _upright(picture: "Image.Image") -> "Image.Image":
    """Turned as the EXIF data say. Where they are damaged the picture stays as it is: its pixels are all there."""
    from PIL import ImageOps

    try:
        return ImageOps.exif_transpose(picture)
    except Exception:  # of damaged data Pillow raises whatever it stumbles over
        return picture


def _as_rgb(picture: "Image.Image", name: str) -> "Image.Image":
    from PIL import Image

    if picture.mode.startswith("I"):  # 16 bits a pixel: `convert` would cut off all above 255
        values = np.asarray(picture)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError(f"{name} has more than 16 bits for a pixel: send one of 8")
        values = np.where(values == picture.info.get("transparency", -1), 65535, values)  # on white
        return Image.fromarray((values // 257).astype(np.uint8)).convert("RGB")
    if picture.mode in ALPHA or "transparency" in picture.info:
        opaque = picture.convert("RGBA")
        under = Image.new("RGBA", picture.size, WHITE)
        return Image.alpha_composite(under, opaque).convert("RGB")
    if picture.mode not in PLAIN:
        raise ValueError(f"{name} is of mode {picture.mode!r}; this code reads {', '.join((*PLAIN, *ALPHA[:2]))}")
    return picture.convert("RGB")


def _damaged(name: str, error: Exception) -> ValueError:
    return ValueError(f"{name} is damaged: {' '.join(str(error).split())[:120] or type(error).__name__}")
