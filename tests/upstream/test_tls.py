"""TLS without a network: both ends in one test, with what goes between them cut anywhere."""

import contextlib
import ssl

import pytest

from kiro.upstream.tls import Tls, default_context
from support.certificates import server_context

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
HOST = "127.0.0.1"


class Peer:
    """The server's end. What the client sends goes to `hear`, what it is answered comes back."""

    def __init__(self, context):
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.object = context.wrap_bio(self._in, self._out, server_side=True)
        self.heard = b""
        self.ready = False

    def hear(self, data):
        self._in.write(data)
        try:
            if not self.ready:
                self.object.do_handshake()
                self.ready = True
            while self._in.pending:
                self.heard += self.object.read(100_000)
        except ssl.SSLWantReadError:
            pass
        return self._out.read()

    def say(self, *texts):
        for text in texts:
            self.object.write(text)
        return self._out.read()

    def goodbye(self):
        with contextlib.suppress(ssl.SSLWantReadError):
            self.object.unwrap()
        return self._out.read()


@pytest.fixture(params=VERSIONS, ids=["TLS 1.2", "TLS 1.3"])
def context(request, certificate):
    made = server_context(certificate)
    made.minimum_version = made.maximum_version = request.param
    return made


def connected(trusting, context, *, cut=100_000, session=None):
    tls, peer = Tls(trusting, HOST, session), Peer(context)
    tls.shake_hands()
    to_peer = tls.to_send
    while to_peer:
        to_client = peer.hear(to_peer)
        assert pieces(tls, to_client, cut) == b""
        to_peer = tls.to_send
    assert tls.established
    return tls, peer


def pieces(tls, data, cut):
    """What comes out when `data` arrives in pieces of `cut` bytes."""
    return b"".join(tls.receive(data[at : at + cut]) for at in range(0, len(data), cut))


@pytest.mark.parametrize("cut", [1, 7, 1000, 100_000])
def test_what_the_peer_says_arrives_whole_however_it_is_cut(trusting, context, cut):
    tls, peer = connected(trusting, context, cut=cut)
    said = [b"one", b"two" * 1000, b"three" * 10_000]
    assert pieces(tls, peer.say(*said), cut) == b"".join(said)
    assert not tls.ended


def test_what_is_sent_arrives_whole(trusting, context):
    tls, peer = connected(trusting, context)
    tls.send(b"x" * 1_000_000)
    tls.send(b"")
    peer.hear(tls.to_send)
    assert peer.heard == b"x" * 1_000_000


def test_a_session_is_taken_up_again(trusting, context):
    tls, peer = connected(trusting, context)
    tls.receive(peer.say(b"answer"))
    session = tls.session()
    again, peer = connected(trusting, context, session=session)
    assert peer.object.session_reused
    assert again.receive(peer.say(b"answer")) == b"answer"


def test_a_session_that_the_peer_does_not_know_costs_a_whole_handshake(trusting, context, certificate):
    tls, peer = connected(trusting, context)
    tls.receive(peer.say(b"answer"))
    other = server_context(certificate)
    other.minimum_version = other.maximum_version = context.maximum_version
    again, peer = connected(trusting, other, session=tls.session())
    assert again.receive(peer.say(b"answer")) == b"answer"
    assert not peer.object.session_reused


def test_the_peers_goodbye_is_told(trusting, context):
    tls, peer = connected(trusting, context)
    assert tls.receive(peer.say(b"last") + peer.goodbye()) == b"last"
    assert tls.ended
    assert tls.eventful


def test_a_certificate_that_nobody_vouches_for_is_refused_and_the_peer_told(context):
    tls, peer = Tls(default_context(), HOST, None), Peer(context)
    tls.shake_hands()
    with pytest.raises(ssl.SSLCertVerificationError):
        tls.receive(peer.hear(tls.to_send))
    with pytest.raises(ssl.SSLError, match="alert"):
        peer.hear(tls.to_send)


def test_a_certificate_for_another_name_is_refused(trusting, context):
    tls, peer = Tls(trusting, "kiro.example", None), Peer(context)
    tls.shake_hands()
    with pytest.raises(ssl.SSLCertVerificationError, match=r"kiro\.example"):
        tls.receive(peer.hear(tls.to_send))


def test_bytes_that_are_no_tls_are_an_error(trusting, context):
    tls, _ = connected(trusting, context)
    with pytest.raises(ssl.SSLError):
        tls.receive(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def test_a_record_that_was_changed_on_the_way_is_an_error(trusting, context):
    tls, peer = connected(trusting, context)
    record = bytearray(peer.say(b"answer"))
    record[-1] ^= 1
    with pytest.raises(ssl.SSLError):
        tls.receive(bytes(record))
