"""The attestation as a page for WeasyPrint: the words, fonts, pictures, places and sizes of `attestation.typ`.

No text is fitted, because CSS cannot do it; the sizes are given that suit these people. So this page is the easier of
the two.
"""

import base64
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any, Final

from weasyprint import CSS, HTML
from weasyprint.text import ffi
from weasyprint.text.fonts import FontConfiguration

from models.document import Document
from tests.benchmarks.sheets import Sheet
from workers.documents.contents import contents
from workers.documents.printable import FONTS
from workers.documents.renderer import TEMPLATES

VARIANT: Final = "pdf/a-2a"
"""Tagged PDF/A, as ours is. WeasyPrint cannot declare PDF/UA-1 in the same file."""

FACES: Final = {
    "Noto Sans": "NotoSans",
    "Noto Sans Arabic": "NotoSansArabic",
    "Noto Sans Hebrew": "NotoSansHebrew",
    "Noto Serif Display": "NotoSerifDisplay",
}

STYLE: Final = """
@page { size: 297mm 210mm; margin: 0 }
html { font: 10pt/1.3 "Noto Sans", "Noto Sans Arabic", "Noto Sans Hebrew"; color: #1b2129 }
body, h1, ul, li, p { margin: 0; padding: 0; font-size: inherit; font-weight: inherit }
.frame { position: absolute; border: 1.2pt solid COLOUR; top: 9mm; left: 9mm; right: 9mm; bottom: 9mm }
.inner { position: absolute; border: .35pt solid COLOUR; top: 11mm; left: 11mm; right: 11mm; bottom: 11mm }
.watermark { position: absolute; z-index: -1; top: 91mm; left: 31mm; width: 235mm; transform: rotate(-24deg) }
.part { position: absolute; left: 25mm; width: 247mm; text-align: center; overflow: hidden }
.display { font-family: "Noto Serif Display", "Noto Sans Arabic", "Noto Sans Hebrew" }
.logo { position: absolute; top: 0; width: 55mm; height: 15mm; object-fit: contain }
.rule { border-top: .4pt solid COLOUR }
.short { border-top: 1.1pt solid COLOUR; width: 26mm; margin: 0 auto }
.fact { display: inline-block; padding: 0 4mm; vertical-align: top; line-height: 1.3 }
.quiet { color: #4a5560 }
.accent { color: COLOUR }
.label { font-size: 7.8pt; color: COLOUR }
li { display: block; font-size: 9.5pt }
ul { display: inline-block; width: 118mm; text-align: left; vertical-align: top }
.foot { position: absolute; bottom: 0; line-height: 1.35 }
"""

PAGE: Final = """<!DOCTYPE html>
<html lang="{lang}"><head><meta charset="utf-8"><title>{document_title}</title>
<meta name="author" content="{author}"><meta name="keywords" content="{number}">
<meta name="dcterms.created" content="{at}"><meta name="dcterms.modified" content="{at}">
<style>{style}</style></head><body>
<div class="frame"></div><div class="inner"></div><img class="watermark" src="duplicata.svg" alt="">
<div class="part" style="top:19mm;height:15mm">{logos}</div>
<div class="part" style="top:38mm;height:14mm"><h1 class="display accent" style="font-size:34pt;line-height:14mm">
{title_of}</h1></div>
<div class="part" style="top:54mm"><div class="short"></div></div>
<div class="part quiet" style="top:60mm;font-size:10.5pt">{awarded_to}</div>
<div class="part display" style="top:66mm;height:15mm;font-size:34pt;line-height:15mm">{learner}</div>
<div class="part" style="top:83mm;font-size:11pt">{employee_of}</div>
<div class="part quiet" style="top:91mm;font-size:10.5pt">{completed}</div>
<div class="part" style="top:97mm;height:15mm;font-size:18pt;line-height:15mm"><b>{title}</b></div>
<div class="part" style="top:113mm;height:13mm"><div class="rule" style="margin-bottom:2mm"></div>{facts}</div>
<div class="part rule" style="top:126.5mm"></div>
<div class="part" style="top:129.5mm;height:28mm"><p class="label">{objectives_label}</p>{objectives}</div>
<div class="part" style="top:160mm;height:25mm">
<div class="foot" style="left:0;width:72mm;text-align:left"><p style="font-size:9.5pt;margin-bottom:9mm">{done_at}</p>
<div class="rule"></div><b>{signatory}</b><br><span class="quiet" style="font-size:9pt">{quality}</span></div>
<div class="foot accent" style="left:78mm;width:87mm;font-size:8.5pt"><b>{duplicate_word} {duplicate_of}<br>
{duplicate_from}</b></div>
<div class="foot quiet" style="right:28mm;width:52mm;text-align:right;font-size:8pt"><b class="accent"
 style="font-size:9pt">{number_of}</b><br>{issued}<br>{code_label}<br><b>{code}</b></div>
<img src="data:image/svg+xml;base64,{qr}" alt="{qr_alt}" style="position:absolute;right:0;bottom:0;width:24mm"></div>
<div class="part quiet" style="top:188.5mm;font-size:7pt;line-height:1.4">{legal}<br>{verify}</div>
</body></html>"""


class WeasyPage:
    """Pages written as HTML before, and turned into PDF one by one.

    Parameters:
      keep: True reads fonts, style and pictures once, the fastest use of WeasyPrint; False gives each page its style,
        as its guide shows.

    Raises: RuntimeError when HarfBuzz's subsetter is not installed: WeasyPrint would work without it, five times
    slower.
    """

    def __init__(self, sheets: list[Sheet], logos: Mapping[str, bytes], *, keep: bool) -> None:
        if not getattr(ffi, "harfbuzz_subset", None):
            raise RuntimeError("libharfbuzz-subset is missing (Debian: apt-get install libharfbuzz-subset0)")
        colour = contents(sheets[0].printed, sheets[0].document, sheets[0].locale, {})["colour"]
        style = _faces() + STYLE.replace("COLOUR", colour)
        self._pages = [page(sheet, logos, "" if keep else style) for sheet in sheets]
        self._kept: dict[str, Any] = {}
        if keep:
            fonts = FontConfiguration()
            self._kept = {"font_config": fonts, "stylesheets": [CSS(string=style, font_config=fonts)], "cache": {}}

    def __call__(self, number: int) -> bytes:
        """Returns the PDF of one document."""
        made = HTML(string=self._pages[number], base_url=f"{TEMPLATES.as_uri()}/").write_pdf(
            pdf_variant=VARIANT, pdf_identifier=f"{number}".encode(), **self._kept
        )
        assert isinstance(made, bytes)
        return made


def _faces() -> str:
    return "".join(
        f'@font-face {{ font-family: "{family}"; font-weight: {weight};'
        f" src: url({Path(FONTS, f'{stem}-{name}.ttf').as_uri()}) }}\n"
        for family, stem in FACES.items()
        for name, weight in (("Regular", 400), ("Bold", 700))
    )


def page(sheet: Sheet, logos: Mapping[str, bytes], style: str) -> str:
    """Returns the page as HTML."""
    data = contents(sheet.printed, sheet.document, sheet.locale, {digest: digest for digest in logos})
    told = {name: escape(value) for name, value in data.items() if isinstance(value, str)}
    labels = {name: label for name, label in data["labels"].items() if isinstance(label, str)}
    filled = {
        name: escape(labels[name].format_map(data))
        for name in ("employee_of", "duplicate_of", "duplicate_from", "issued", "verify", "done_at")
    }
    half = -(-len(data["objectives"]) // 2)
    halves = (data["objectives"][:half], data["objectives"][half:])
    return PAGE.format(
        **told | filled | {"qr": base64.b64encode(data["qr"].encode()).decode()},
        **{name: escape(labels[name]) for name in ("awarded_to", "completed", "duplicate_word")},
        at=sheet.timestamp.isoformat(),
        style=style,
        title_of=escape(labels[Document.ATTESTATION]),
        objectives_label=escape(labels["objectives"]),
        code_label=escape(labels["code"]),
        number_of=escape(labels["number"].format_map(data)),
        logos="".join(
            _picture(logos[data[which]], data[alt], side)
            for which, alt, side in (("issuer_logo", "issuer", "left"), ("logo", "employer", "right"))
        ),
        facts="".join(
            f'<p class="fact"><span class="label">{escape(label)}</span><br>{escape(value)}</p>'
            for label, value in data["facts"]
        ),
        objectives="".join(f"<ul>{''.join(f'<li>– {escape(one)}</li>' for one in some)}</ul>" for some in halves),
        legal="<br>".join(map(escape, data["legal"])),
    )


def _picture(content: bytes, alt: str, side: str) -> str:
    address = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    return f'<img class="logo" style="{side}:0" src="{address}" alt="{escape(alt)}">'
