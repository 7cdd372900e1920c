"""A real page in a real browser."""
import pytest

from testenv import browser

# Of one colour and one pixel; Chromium decodes it.
PNG = bytes.fromhex("89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154"
                    "78da63f8cfc000000301010018dd8db00000000049454e44ae426082")
PAGE = """<!doctype html><title>page</title><link rel=stylesheet href=/a.css><link rel=stylesheet href=/b.css>
<script src=/a.js></script><script src=/b.js></script><script type=module src=/c.mjs></script>
{images}<iframe src=/frame.html></iframe><p>text"""
IMAGES = [f"/i{n}.png" for n in range(8)]


def asked(origin):
    """Requests but those for the icon, which the browser asks for when it likes."""
    return len([r for r in origin.requests if r.path != "/favicon.ico"])


@pytest.mark.skipif(browser.program() is None, reason="no Chromium")
@pytest.mark.limit(120)
def test_every_asset_over_http2_and_the_second_load_is_all_hits(edge, origin, authority):
    assets = {"/page": ("text/html", PAGE.format(images="".join(f"<img src={i}>" for i in IMAGES))),
              "/frame.html": ("text/html", "<!doctype html><p>frame"),
              "/a.css": ("text/css", "p {color: red}" * 2000), "/b.css": ("text/css", "@import '/c.css';"),
              "/c.css": ("text/css", "body {background: white}"), "/a.js": ("text/javascript", "window.a = 1;" * 5000),
              "/b.js": ("text/javascript", "document.title = 'b';"), "/c.mjs": ("text/javascript", "import '/d.mjs';"),
              "/d.mjs": ("text/javascript", "export let d = 1;"), **{i: ("image/png", PNG) for i in IMAGES}}
    for path, (kind, body) in assets.items():
        origin.page(path, body, cache_control="max-age=600", fields=[("Content-Type", kind)])
    origin.page("/favicon.ico", PNG, cache_control="max-age=600", fields=[("Content-Type", "image/png")])
    # A page between them makes sure that the second load is not answered before all is stored.
    first = browser.load("https://www.test/page", edge.port, authority.file("www.test"), times=1)[0]
    edge.wait_idle()
    seen = asked(origin)
    second = browser.load("https://www.test/page", edge.port, authority.file("www.test"), times=1)[0]
    for load in (first, second):
        rows = {path: (status, protocol) for path, status, protocol, _ in load}
        for path in assets:
            assert rows.get(path) == (200, "h2"), (path, load)
        assert all(status == 200 for _, status, _, _ in load), load
    assert all("hit" in status for path, _, _, status in second if path in assets), second
    assert asked(origin) == seen
