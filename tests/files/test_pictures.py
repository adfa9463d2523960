"""Pictures of others: every kind becomes RGB or is refused by name, and none can fill the memory."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from llm_jax.files import pictures

RAMP = np.arange(0, 256, 4, dtype=np.uint8).reshape(8, 8)


def encoded(picture: Image.Image, form: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def colour(mode: str, value) -> bytes:
    return encoded(Image.new(mode, (6, 4), value))


def png(width: int, height: int, depth: int = 8, kind: int = 0, data: bytes = b"") -> bytes:
    """A PNG by hand, whose header may promise more than it holds."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("form", ["PNG", "BMP", "GIF"])
def test_grey_pictures_keep_their_values(form):
    found = pictures.read(encoded(Image.fromarray(RAMP), form))
    np.testing.assert_array_equal(found, np.repeat(RAMP[..., None], 3, axis=2))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (colour("RGB", (10, 20, 30)), (10, 20, 30)),
        (colour("1", 1), (255, 255, 255)),
        (colour("RGBA", (10, 20, 30, 0)), (255, 255, 255)),
        (colour("RGBA", (0, 0, 0, 128)), (127, 127, 127)),
        (colour("LA", (0, 0)), (255, 255, 255)),
        (colour("I;16", 65535), (255, 255, 255)),
        (colour("I;16", 257 * 100), (100, 100, 100)),
    ],
    ids=["RGB", "1 bit", "transparent", "half transparent", "grey with alpha", "16-bit white", "16-bit grey"],
)
def test_every_kind_becomes_rgb(content, expected):
    found = pictures.read(content)
    assert found.shape == (4, 6, 3)
    assert found.dtype == np.uint8
    np.testing.assert_allclose(found[0, 0], expected, atol=1)


def test_cmyk_and_palette_become_rgb():
    cmyk = encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG")
    np.testing.assert_allclose(pictures.read(cmyk)[3, 3], (255, 0, 0), atol=8)
    palette = Image.new("RGB", (4, 4), (200, 10, 60)).convert("P", palette=Image.Palette.ADAPTIVE)
    np.testing.assert_allclose(pictures.read(encoded(palette))[0, 0], (200, 10, 60), atol=2)
    palette.info["transparency"] = 0
    clear = encoded(palette, transparency=palette.getpixel((0, 0)))
    np.testing.assert_array_equal(pictures.read(clear)[0, 0], (255, 255, 255))


def test_sixteen_bit_colours_become_eight():
    rows = b"".join(b"\0" + struct.pack(">HHH", 65535, 257 * 50, 0) * 2 for _ in range(2))
    np.testing.assert_allclose(pictures.read(png(2, 2, 16, 2, rows))[1, 1], (255, 50, 0), atol=1)


def test_a_photograph_is_turned_as_its_camera_was():
    picture = Image.fromarray(np.repeat(RAMP[:4, :, None], 3, axis=2))
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    assert pictures.read(encoded(picture, exif=exif)).shape == (8, 4, 3)


@pytest.mark.parametrize("exif", [b"Exif\0\0garbagegarbage", b"Exif\0\0II*", b"\xff" * 40])
@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_damaged_exif_data_leave_a_picture_as_it_is(form, exif):
    picture = Image.new("RGB", (8, 4), (200, 10, 60))
    found = pictures.read(encoded(picture, form, exif=exif))
    assert found.shape == (4, 8, 3)
    np.testing.assert_allclose(found[2, 4], (200, 10, 60), atol=4)


def test_of_a_photograph_with_several_pictures_the_first_is_read():
    """Telephones write a portrait and its depth, or its light, into one JPEG."""
    first, second = (Image.new("RGB", (16, 16), colour) for colour in ((200, 10, 60), (0, 0, 0)))
    content = encoded(first, "MPO", save_all=True, append_images=[second])
    np.testing.assert_allclose(pictures.read(content)[8, 8], (200, 10, 60), atol=4)


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_an_animation_is_refused(form):
    frames = [Image.new("RGB", (4, 4), (shade, 0, 0)) for shade in (10, 120, 250)]
    content = encoded(frames[0], form, save_all=True, append_images=frames[1:])
    with pytest.raises(ValueError, match="is an animation"):
        pictures.read(content)


@pytest.mark.parametrize("size", [(5000, 5000), (12_000, 12_000), (60_000, 60_000), (2**31 - 1, 1)])
def test_a_huge_picture_is_refused_by_its_header(size):
    with pytest.raises(ValueError, match="pixels"):
        pictures.read(png(*size))


def test_a_text_that_unpacks_to_gigabytes_is_refused():
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    bomb = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"a" * (100 << 20)))
    whole = colour("RGB", 0)
    with pytest.raises(ValueError, match="the picture is damaged"):
        pictures.read(whole[:33] + bomb + whole[33:])


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_picture_that_is_cut_off_is_refused(form, share):
    noise = np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8)
    content = encoded(Image.fromarray(noise), form)
    with pytest.raises(ValueError, match=r"the picture (is damaged|is none of)"):
        pictures.read(content[: int(share * len(content))])


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_damage_never_raises_anything_but_a_named_error(form):
    random = np.random.default_rng(1)
    content = bytearray(encoded(Image.fromarray(random.integers(0, 255, (24, 24, 3), np.uint8)), form))
    for _ in range(60):
        broken = bytearray(content)
        for place in random.integers(0, len(content), 4):
            broken[place] = random.integers(256)
        said = ""
        try:
            pictures.read(bytes(broken))
        except ValueError as error:
            said = str(error)
        assert not said or said.startswith("the picture ")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"hello", "is none of PNG"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is none of PNG"),
        (encoded(Image.new("RGB", (4, 4)), "TIFF"), "is none of PNG"),
        (b"\0" * (pictures.MOST_BYTES + 1), "the most is 3,145,728"),
    ],
)
def test_what_is_no_picture_is_refused(content, said):
    with pytest.raises(ValueError, match=said):
        pictures.read(content)
