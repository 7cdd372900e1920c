#!/usr/bin/python3
"""What a browser loads along with a page: assets.py BASE-URL <page.html, one URL a line.

Style sheets, scripts, images, icons and preloaded files that the page names itself, each once, in
the order of the page, and from the host of BASE-URL only.
"""
import sys
from html.parser import HTMLParser
from urllib.parse import urldefrag, urljoin, urlsplit


class Assets(HTMLParser):
    def __init__(self, base):
        super().__init__()
        self.base = base
        self.urls = {}

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == "link" and set((attrs.get("rel") or "").split()) & {"stylesheet", "icon", "preload"}:
            self.add(attrs.get("href"))
        elif tag in ("script", "img"):
            self.add(attrs.get("src"))

    def add(self, reference):
        url = urldefrag(urljoin(self.base, reference or "")).url
        if reference and urlsplit(url).netloc == urlsplit(self.base).netloc:
            self.urls[url] = True


def main():
    parser = Assets(sys.argv[1])
    parser.feed(sys.stdin.read())
    print("\n".join(parser.urls))


if __name__ == "__main__":
    main()
