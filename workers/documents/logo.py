"""Cleans pictures for certificates: each is decoded, reduced and written anew, so that none harms a document."""

import io
from typing import Final

from PIL import Image, ImageOps

from models.document import MOST_LOGO_BYTES, MOST_LOGO_PIXELS, PRINTED_LOGO_PIXELS
from models.words import Code

FORMATS: Final = ("PNG", "JPEG", "WEBP")
"""The formats that are read. SVG is not one of them, because it may hold scripts, fonts and addresses."""


def clean_logo(content: bytes) -> bytes | Code:
    """Writes a picture anew as PNG, at most 600 pixels wide and high, upright, without metadata.

    Returns: its bytes, which are the same for the same picture; or ``UNSUPPORTED_IMAGE`` if it cannot be read as PNG,
    JPEG or WebP, ``IMAGE_TOO_LARGE`` if it is over 130 kB or 4,000 pixels in a direction.
    """
    if len(content) > MOST_LOGO_BYTES:
        return Code.IMAGE_TOO_LARGE
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as opened:
            # A picture that makes Pillow warn of its very many pixels has a longer side than this.
            if max(opened.size) > MOST_LOGO_PIXELS:
                return Code.IMAGE_TOO_LARGE
            return _as_png(opened)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        return Code.IMAGE_TOO_LARGE
    except Exception:  # noqa: BLE001 - a file that makes a decoder fail in any way is no picture
        return Code.UNSUPPORTED_IMAGE


def _as_png(opened: Image.Image) -> bytes:
    upright = _in_eight_bits(ImageOps.exif_transpose(opened))
    picture = upright.convert("RGBA" if "A" in upright.getbands() or "transparency" in upright.info else "RGB")
    if max(picture.size) > PRINTED_LOGO_PIXELS:
        reduced = [max(1, round(side * PRINTED_LOGO_PIXELS / max(picture.size))) for side in picture.size]
        picture = picture.resize(reduced, Image.Resampling.LANCZOS)
    plain = Image.new(picture.mode, picture.size)
    plain.paste(picture)
    written = io.BytesIO()
    plain.save(written, "PNG", optimize=True)
    return written.getvalue()


def _in_eight_bits(picture: Image.Image) -> Image.Image:
    """Reduces 16-bit greys to 8 bits. Pillow's own conversion cuts values over 255, which leaves a white rectangle.

    Pillow reads 16-bit greys of PNG as ``I;16``, and earlier versions as ``I``; no other format has them.
    """
    if not picture.mode.startswith("I"):
        return picture
    greys = picture.convert("I").point(lambda grey: grey * (1 / 257) + 0.5).convert("L")
    clear = picture.info.get("transparency")
    if isinstance(clear, int):
        greys.info["transparency"] = round(clear / 257)
    return greys
