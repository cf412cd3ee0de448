"""The tests of rendered mails use these: values of an invitation, and a parsed HTML mail."""

from html.parser import HTMLParser

from workers.cli.samples.mails import SAMPLES

INVITATION = dict(SAMPLES["invitation"][1])
VOID = {"meta", "br"}


class Page(HTMLParser):
    """The content of an HTML mail: its tags in order, its visible words, its links."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.links: list[tuple[str, str]] = []
        self.open: list[str] = []
        self._hidden = self._href = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "a":
            self._href = dict(attrs)["href"] or ""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self.open or "head" in self.open or not data.strip():
            return
        self.words.append(" ".join(data.split(" ")))
        if "a" in self.open:
            self.links.append((self._href, data))

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]
