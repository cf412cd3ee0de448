"""An uploaded logo is kept as a small plain PNG without any extra content, or refused."""

import io
import struct
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from models.document import MOST_LOGO_BYTES, MOST_LOGO_PIXELS, PRINTED_LOGO_PIXELS
from models.words import Code
from workers.documents.logo import clean_logo

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def saved(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    written = io.BytesIO()
    picture.save(written, kind, **options)
    return written.getvalue()


def two_colours(mode: str = "RGB", size: tuple[int, int] = (40, 20)) -> Image.Image:
    """Returns a picture with a dark blue left half and a red right half."""
    picture = Image.new("RGB", size, "#1b3a5f")
    picture.paste("#e60000", (size[0] // 2, 0, *size))
    return picture.convert(mode)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def claiming(width: int, height: int, *more: bytes) -> bytes:
    """Returns a few bytes that claim to be a picture of this size."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return SIGNATURE + header + b"".join(more) + chunk(b"IDAT", zlib.compress(b"\0" * 1_000)) + chunk(b"IEND", b"")


def opened(cleaned: bytes | Code) -> Image.Image:
    assert isinstance(cleaned, bytes), cleaned
    picture = Image.open(io.BytesIO(cleaned))
    picture.load()
    assert (picture.format, picture.mode in ("RGB", "RGBA"), picture.info) == ("PNG", True, {})
    assert max(picture.size) <= PRINTED_LOGO_PIXELS
    return picture


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1", "RGBA", "LA", "CMYK", "I;16"])
def test_every_kind_of_picture_is_a_plain_one_afterwards(kind: str, mode: str) -> None:
    picture = Image.new("I;16", (40, 20)) if mode == "I;16" else two_colours(mode)
    try:
        content = saved(picture, kind)
    except OSError:
        return  # this format cannot hold such pictures
    assert opened(clean_logo(content)).size == (40, 20)


@pytest.mark.parametrize(("clear", "opaque"), [({}, [255] * 4), ({"transparency": 0x8000}, [255, 255, 0, 255])])
def test_fine_greys_stay_greys(clear: dict[str, Any], opaque: list[int]) -> None:
    picture = Image.frombytes("I;16", (4, 1), struct.pack("<4H", 0, 0x4000, 0x8000, 0xFFFF))
    cleaned = opened(clean_logo(saved(picture, **clear))).convert("RGBA")
    assert list(cleaned.getchannel("R").tobytes()) == [0, 64, 128, 255]
    assert list(cleaned.getchannel("A").tobytes()) == opaque


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((600, 600), (600, 600)),
        ((1200, 300), (600, 150)),
        ((300, 1200), (150, 600)),
        ((4000, 2), (600, 1)),
        ((1, 4000), (1, 600)),
    ],
)
def test_a_large_one_is_reduced_in_both_directions(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert opened(clean_logo(saved(two_colours(size=size)))).size == expected


def test_noise_of_any_shape_stays_small() -> None:
    tall = Image.effect_noise((300, 2000), 90).convert("RGB")
    content = saved(tall, "JPEG", quality=10)
    assert len(content) < MOST_LOGO_BYTES
    cleaned = clean_logo(content)
    assert isinstance(cleaned, bytes)
    assert len(cleaned) < MOST_LOGO_BYTES


def test_it_is_upright_and_without_the_place_it_was_taken() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    exif[0x8825] = {2: (48.0, 51.0, 0.0)}  # the GPS position
    exif[0x010E] = "Zoé chez elle"
    content = saved(two_colours(), "JPEG", exif=exif, quality=95)
    picture = opened(clean_logo(content))
    assert picture.size == (20, 40)
    assert b"chez" in content
    assert b"chez" not in (clean_logo(content) or b"")


def test_extra_content_of_a_picture_is_removed() -> None:
    told = PngImagePlugin.PngInfo()
    told.add_text("Comment", "<script>alert(1)</script>")
    content = saved(two_colours(), pnginfo=told) + b"PK\x03\x04 and a zip </html>" + b"%PDF-1.7"
    cleaned = clean_logo(content)
    assert opened(cleaned).getpixel((0, 0)) == (0x1B, 0x3A, 0x5F)
    assert isinstance(cleaned, bytes)
    for hidden in (b"script", b"PK\x03\x04", b"%PDF", b"html"):
        assert hidden not in cleaned


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_the_first_picture_of_an_animation_is_kept(kind: str) -> None:
    frames = [Image.new("RGB", (30, 30), colour) for colour in ("#1b3a5f", "#e60000", "#00aa00")]
    content = saved(frames[0], kind, save_all=True, append_images=frames[1:], duration=100, loop=0,
                    **({"lossless": True} if kind == "WEBP" else {}))  # fmt: skip
    picture = opened(clean_logo(content))
    assert getattr(picture, "n_frames", 1) == 1
    assert picture.convert("RGB").getpixel((5, 5)) == (0x1B, 0x3A, 0x5F)


def test_transparency_is_kept() -> None:
    clear = Image.new("RGBA", (20, 20), (255, 0, 0, 0))
    assert opened(clean_logo(saved(clear))).getpixel((3, 3)) == (255, 0, 0, 0)
    palette = two_colours("P")
    assert opened(clean_logo(saved(palette, transparency=0))).mode == "RGBA"


def test_the_same_picture_gives_the_same_bytes_also_when_cleaned_again() -> None:
    first = clean_logo(saved(two_colours(size=(1000, 500))))
    assert isinstance(first, bytes)
    assert clean_logo(saved(two_colours(size=(1000, 500)))) == first
    assert clean_logo(first) == first


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x89PNG",
        SIGNATURE,
        b"GIF89a" + b"\0" * 50,
        b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
        b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        b'<!DOCTYPE svg [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><svg>&b;</svg>',
        b"%PDF-1.7\n%%EOF",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage",
        saved(two_colours(), "GIF"),
        saved(two_colours(), "BMP"),
        saved(two_colours(), "TIFF"),
        saved(two_colours(), "ICO"),
        saved(two_colours(size=(400, 400)), "JPEG")[:300],
        claiming(0, 0),
        claiming(10, 10, chunk(b"zTXt", b"a\0\0" + zlib.compress(b"x" * 80_000_000, 9))),
    ],
    ids=range(16),
)
def test_other_files_and_formats_are_refused(content: bytes) -> None:
    assert clean_logo(content) is Code.UNSUPPORTED_IMAGE


@pytest.mark.parametrize(
    "size",
    [
        (MOST_LOGO_PIXELS + 1, 1),
        (1, MOST_LOGO_PIXELS + 1),
        (10_000, 10_000),
        (30_000, 30_000),
        (65_535, 65_535),
        (2**31 - 1, 2),
    ],
)
def test_a_few_bytes_that_unpack_to_very_much_are_too_large(size: tuple[int, int]) -> None:
    assert clean_logo(claiming(*size)) is Code.IMAGE_TOO_LARGE


def test_too_many_bytes_are_too_large_in_any_format() -> None:
    assert clean_logo(b"x" * (MOST_LOGO_BYTES + 1)) is Code.IMAGE_TOO_LARGE


@given(st.binary(max_size=200), st.sampled_from(["PNG", "JPEG", "WEBP"]), st.floats(0, 1))
def test_damage_anywhere_is_a_picture_or_a_refusal(damage: bytes, kind: str, where: float) -> None:
    content = saved(two_colours(), kind)
    at = int(where * len(content))
    cleaned = clean_logo(content[:at] + damage + content[at + len(damage) :])
    assert cleaned in (Code.UNSUPPORTED_IMAGE, Code.IMAGE_TOO_LARGE) or opened(cleaned)
