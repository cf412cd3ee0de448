"""A message arrives byte for byte: dots are stuffed, and no text can end a mail or begin another one."""

import asyncio

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.kit.relay.scripted import ScriptedRelay, connection_to, send
from workers.mail.pipeline import framed

PIECES = [b".", b"..", b"\r\n", b"\r\n.\r\n", b"a", b" ", b"\xff\x00", b"MAIL FROM:<evil@x.example>", b"QUIT"]
LINES = st.lists(st.sampled_from(PIECES) | st.binary(max_size=40).map(lambda some: some.translate(None, b"\r\n")))
MESSAGES = LINES.map(lambda some: b"".join(some) + b"\r\n")
ODD = (st.lists(st.sampled_from([*PIECES, b"\r", b"\n", b"\n.\n", b"\r.\r", b"\n.\r\n"])) | st.lists(st.binary())).map(
    lambda some: b"".join(some) + b"\r\n"
)


def unstuffed(data: bytes) -> bytes:
    """Reads a message as a server does (RFC 5321, 4.5.2): up to a dot alone on a line, a leading dot taken away."""
    lines = data.split(b"\r\n")
    end = lines.index(b".")
    assert lines[end + 1 :] == [b""], "bytes follow the end of the mail: they would be read as commands"
    return b"".join(line.removeprefix(b".") + b"\r\n" for line in lines[:end])


@given(MESSAGES)
@example(b".\r\n")
@example(b"..\r\n.\r\n\r\n.\r\n")
@example(b"\r\n")
def test_a_server_gets_the_message_byte_for_byte(message: bytes) -> None:
    assert unstuffed(framed(message)) == message


@given(ODD)
@example(b"a\n.\nMAIL FROM:<evil@x.example>\r\n")
@example(b"a\r.\r\r\n")
@example(b"a\rb\n.\r\nMAIL FROM:<evil@x.example>\r\n")
def test_no_line_end_but_crlf_leaves_so_that_no_text_ends_a_mail(message: bytes) -> None:
    sent = framed(message)
    assert sent.replace(b"\r\n", b"").translate(None, b"\r\n") == sent.replace(b"\r\n", b"")
    assert unstuffed(sent) == message.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")


@given(st.lists(MESSAGES, min_size=1, max_size=20))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_mails_that_follow_each_other_arrive_as_they_were_given(messages: list[bytes]) -> None:
    async def scenario() -> None:
        async with ScriptedRelay(extensions=("PIPELINING",)).listening() as relay:
            connection = connection_to(relay)
            for message in messages:
                await send(connection, message=message)
            connection.close()
            assert [unstuffed(one) for one in relay.messages] == messages

    asyncio.run(scenario())
