"""asyncio's readers and writers over streams of both kinds, begun by either side."""

import asyncio

from aioquic.asyncio import QuicConnectionProtocol, connect, serve
from aioquic.quic.configuration import QuicConfiguration

tasks = set()


def handle_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    task = asyncio.ensure_future(answer(reader, writer))
    tasks.add(task)
    task.add_done_callback(tasks.discard)


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    if writer.get_extra_info("stream_id") % 4 == 2:
        assert not writer.can_write_eof()
        await reader.read()
        writer.close()
        return
    while line := await reader.readline():
        writer.write(line.upper())
        await writer.drain()
    writer.write_eof()


async def server(cert: str, key: str):
    configuration = QuicConfiguration(is_client=False, alpn_protocols=["lines"])
    configuration.load_cert_chain(cert, key)
    return await serve(
        "127.0.0.1",
        0,
        configuration=configuration,
        create_protocol=QuicConnectionProtocol,
        stream_handler=handle_stream,
    )


async def client(host: str, port: int, ca: str):
    configuration = QuicConfiguration(is_client=True, alpn_protocols=["lines"])
    configuration.load_verify_locations(cafile=ca)
    async with connect(host, port, configuration=configuration) as protocol:
        answers = []
        reader, writer = await protocol.create_stream()
        for line in (b"one\n", b"two\n"):
            writer.write(line)
            answers.append(await reader.readline())
        writer.writelines([b"three\n", b"four"])
        writer.write_eof()
        assert writer.can_write_eof()
        assert writer.is_closing()
        answers.append(await reader.read())
        assert reader.at_eof()

        _, writer = await protocol.create_stream(is_unidirectional=True)
        answers.append(writer.get_extra_info("stream_id"))
        writer.write(b"no answer")
        writer.close()
        await protocol.ping()

        reader, writer = await protocol.create_stream()
        writer.write(b"x" * 30_000 + b"\n")
        writer.write_eof()
        answers.append(len(await reader.read()))
        return answers
