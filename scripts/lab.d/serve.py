"""serve.py ADDRESS COMMAND...

Opens a listening TCP socket here and becomes COMMAND, which finds the socket as systemd's
services do: file descriptor 3, LISTEN_FDS=1, LISTEN_PID its own pid. COMMAND may enter other
namespaces on its way; the socket stays where it was opened.
"""

import errno
import os
import socket
import sys

SOCKET_FD = 3
BACKLOG = 1024


def fail(sentence):
    sys.exit(f"lab: {sentence}")


def parse(address):
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdigit() or int(port) > 65535:
        fail(f"'{address}' is no address to listen on; it looks like 127.0.0.1:3000 or [::1]:3000.")
    return host.strip("[]"), int(port)


def listen(address):
    host, port = parse(address)
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.listen(BACKLOG)
    except socket.gaierror as error:
        fail(f"The address {address} is not known here ({error.strerror}); please use another one.")
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            fail(
                f"Something listens on {address} already: please end it, or choose another "
                "address, such as TWARGA_ADDR=127.0.0.1:3001."
            )
        fail(f"Cannot listen on {address} ({error.strerror}); please use another address.")
    return listener


def main():
    if len(sys.argv) < 3:
        fail("serve.py needs an address and a command.")
    listener = listen(sys.argv[1])
    command = sys.argv[2:]
    if listener.fileno() == SOCKET_FD:
        os.set_inheritable(SOCKET_FD, True)
    else:
        os.dup2(listener.fileno(), SOCKET_FD, inheritable=True)
    environment = dict(os.environ, LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
    try:
        os.execvpe(command[0], command, environment)
    except OSError as error:
        fail(f"{command[0]} cannot be started ({error.strerror}).")


main()
