"""Pictures and documents before they go to Kiro."""

import base64
import io

import PIL.Image
import pypdf
import pytest

from kiro.conversation.messages import Document, DocumentFile, DocumentLink, Image, ImageLink, Text
from kiro.conversation.pictures import pixels_base64, sniff_base64
from kiro.upstream import media
from kiro.upstream.catalogue import KNOWN_MODELS
from kiro.upstream.media import Fetched, NotFetched
from support.conversations import ONE_PIXEL, assistant, call, result, said, user

MODELS = {model.id: model for model in KNOWN_MODELS}
SEES, BLIND = MODELS["claude-sonnet-4.5"], MODELS["glm-5"]
PNG = Image(ONE_PIXEL, "image/png")


def picture(kind, size=(40, 20), colour="red", *, noise=False, mode="RGB"):
    import os

    drawn = (
        PIL.Image.frombytes("RGB", size, os.urandom(size[0] * size[1] * 3))
        if noise
        else PIL.Image.new(mode, size, colour)
    )
    buffer = io.BytesIO()
    drawn.save(buffer, kind)
    return base64.b64encode(buffer.getvalue()).decode()


def pdf(text):
    """A PDF of one page, written by hand: pypdf reads text but writes none."""
    stream = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%b\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out, offsets = bytearray(b"%PDF-1.4\n"), []
    for number, content in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, content)
    xref = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, xref)
    return bytes(out)


def prepared(*parts, model=SEES, fetched=None):
    return media.prepare(said(user(*parts)), model, fetched or {}).messages[0].parts


def file(data, media_type="application/pdf", title="t"):
    return DocumentFile(title, media_type, base64.b64encode(data).decode())


class TestNeedsWork:
    def test_words_need_none(self):
        assert not media.needs_work(said(user("a"), assistant(call("1")), user(result("1", "x"), Document("t", "x"))))

    @pytest.mark.parametrize(
        "part", [PNG, ImageLink("u"), DocumentLink(None, "u"), file(b"")], ids=lambda part: type(part).__name__
    )
    def test_these_do_also_inside_results(self, part):
        assert media.needs_work(said(user(part)))
        assert media.needs_work(said(user(result("1", part))))


def test_links_are_listed_once_in_order():
    conversation = said(user(ImageLink("b"), DocumentLink(None, "a"), result("1", ImageLink("b"), ImageLink("c"))))
    assert media.links(conversation) == ["b", "a", "c"]


class TestPictures:
    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
    def test_the_type_is_what_the_bytes_say(self, kind):
        (found,) = prepared(Image(picture(kind), "image/wrong"))
        assert found.media_type == f"image/{kind.lower()}"

    def test_what_is_right_stays(self):
        assert prepared(PNG) == (PNG,)

    @pytest.mark.parametrize(
        "odd",
        [
            f"data:image/png;base64,{ONE_PIXEL}",
            "\n".join([ONE_PIXEL[:40], ONE_PIXEL[40:]]),
            ONE_PIXEL.replace("+", "-").replace("/", "_"),
        ],
        ids=["a data URL", "several lines", "URL-safe letters"],
    )
    def test_odd_base64_is_made_plain(self, odd):
        assert prepared(Image(odd, "image/png")) == (PNG,)

    @pytest.mark.parametrize(
        "data",
        ["AAAA", "", "not base64!", ONE_PIXEL[:-9] + "!" * 5],
        ids=["no picture", "nothing", "no base64", "damaged"],
    )
    def test_what_is_no_picture_becomes_a_note(self, data):
        (note,) = prepared(Image(data, "image/png"))
        assert isinstance(note, Text)
        assert "omitted" in note.text

    @pytest.mark.parametrize("kind", ["BMP", "TIFF"])
    def test_other_kinds_are_converted(self, kind):
        (found,) = prepared(Image(picture(kind), ""))
        assert found.media_type == "image/png"
        assert sniff_base64(found.data) == "png"

    def test_too_many_pixels_are_made_fewer(self):
        (found,) = prepared(Image(picture("PNG", (9000, 10)), "image/png"))
        assert max(pixels_base64(found.data)) == 1568

    def test_too_many_bytes_are_made_fewer(self):
        big = picture("PNG", (1600, 1500), noise=True)
        assert len(big) > media.MAX_IMAGE_CHARS
        (found,) = prepared(Image(big, "image/png"))
        assert len(found.data) <= media.MAX_IMAGE_CHARS
        assert found.media_type == "image/jpeg"

    def test_a_model_that_cannot_see_gets_a_note(self):
        (note,) = prepared(PNG, model=BLIND)
        assert "cannot see" in note.text

    def test_of_too_many_the_newest_stay_and_the_old_leave_in_steps(self):
        shots = [Image(picture("PNG", colour=(n, n, n)), "image/png") for n in range(22)]
        kept = [isinstance(part, Image) for part in prepared(*shots)]
        assert kept == [False] * 5 + [True] * 17

    def test_a_repeated_one_in_the_history_is_sent_once(self):
        conversation = said(user(PNG), assistant("a"), user(result("1", PNG), "x"), assistant("b"), user(PNG))
        parts = [message.parts for message in media.prepare(conversation, SEES, {}).messages]
        assert parts[0] == (PNG,)
        assert parts[2][0].parts[0] == Text("[the same image as before]")
        assert parts[4] == (PNG,)


class TestDocuments:
    def test_a_pdf_is_read(self):
        (found,) = prepared(file(pdf("Hello from page one")))
        assert found == Document("t", "Hello from page one")

    def test_a_pdf_of_pictures_only_says_so(self):
        writer = pypdf.PdfWriter()
        writer.add_blank_page(100, 100)
        buffer = io.BytesIO()
        writer.write(buffer)
        (note,) = prepared(file(buffer.getvalue()))
        assert "no text" in note.text

    @pytest.mark.parametrize("data", [b"%PDF-1.4 broken", b"PK\x03\x04\xff\xfe"], ids=["a broken pdf", "an archive"])
    def test_what_cannot_be_read_becomes_a_note(self, data):
        (note,) = prepared(file(data))
        assert "omitted" in note.text

    def test_text_is_text(self):
        assert prepared(file("größe".encode(), "text/plain")) == (Document("t", "größe"),)

    def test_a_picture_is_a_picture(self):
        assert prepared(file(base64.b64decode(ONE_PIXEL), "image/png")) == (PNG,)

    def test_a_long_one_is_cut_and_says_so(self):
        (found,) = prepared(file(b"x" * 300_000, "text/plain"))
        assert found.text.endswith("[100000 more characters left out]")


class TestLinks:
    def test_what_was_fetched_stands_in(self):
        fetched = {"i": Fetched(base64.b64decode(ONE_PIXEL), "image/png"), "d": Fetched(b"words", "text/plain")}
        assert prepared(ImageLink("i"), DocumentLink(None, "d"), fetched=fetched) == (PNG, Document("d", "words"))

    def test_what_was_not_is_told(self):
        image, document = prepared(ImageLink("i"), DocumentLink("t", "d"), fetched={"i": NotFetched("status 404")})
        assert image.text == "[image i could not be fetched: status 404]"
        assert document.text == "[document d could not be fetched: not fetched]"
