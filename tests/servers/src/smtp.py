"""A mail server on 127.0.0.1 that tells of its mails: the port as the first line, then each mail,
all in JSON. `nobody@…` does not exist, and `grey@…` is told to come again once. Ends with its input.
"""

import asyncio
import json
import sys
from email import message_from_bytes

from aiosmtpd.smtp import SMTP


def tell(**what):
    print(json.dumps(what), flush=True)


class Mails:
    def __init__(self):
        self.greylisted = False

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody@"):
            return "550 there is no such mailbox"
        if address.startswith("grey@") and not self.greylisted:
            self.greylisted = True
            return "451 come again later"
        envelope.rcpt_tos.append(address)
        return "250 fine"

    async def handle_DATA(self, server, session, envelope):
        mail = message_from_bytes(envelope.content)
        text = mail.get_payload(decode=True).decode()
        tell(to=envelope.rcpt_tos, id=mail["Message-ID"], subject=mail["Subject"], text=text)
        return "250 kept"


async def main(port):
    loop = asyncio.get_running_loop()
    mails = Mails()
    server = await loop.create_server(
        lambda: SMTP(mails, hostname="localhost", loop=loop), "127.0.0.1", port
    )
    tell(port=server.sockets[0].getsockname()[1])
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


asyncio.run(main(int(sys.argv[1])))
