"""imapclient.py - IMAP as the tests need it: a command, its tagged line, what came before it, literals included."""
import re
import socket

from suite import IMAPS_PORT, PASSWORD, tls


class Refused(Exception):
    """NO or BAD."""


class Gone(Exception):
    """The connection has ended, with BYE or without."""


class Imap:
    def __init__(self, user, password=PASSWORD, timeout=60):
        self.tags = 0
        try:
            raw = socket.create_connection(("127.0.0.1", IMAPS_PORT), timeout=timeout)
            self.sock = tls().wrap_socket(raw, server_hostname="localhost")
            self.file = self.sock.makefile("rb")
            self.line()
            self.command("LOGIN %s %s" % (user, password))
        except OSError as error:
            raise Gone(error) from error

    def line(self):
        """One line with the literals in it, whole."""
        out = b""
        while True:
            try:
                part = self.file.readline()
            except OSError as error:
                raise Gone(error) from error
            if not part.endswith(b"\n"):
                raise Gone("end of the connection")
            out += part
            literal = re.search(rb"\{(\d+)\}\r\n$", part)
            if not literal:
                break
            data = self.file.read(int(literal[1]))
            if len(data) != int(literal[1]):
                raise Gone("end within a literal")
            out += data
        if out.startswith(b"* BYE"):
            raise Gone(out)
        return out

    def write(self, data):
        try:
            self.sock.sendall(data)
        except OSError as error:
            raise Gone(error) from error

    def command(self, text, literal=None):
        """Untagged lines. `literal`: sent behind the command (LITERAL+)."""
        self.tags += 1
        tag = b"t%d " % self.tags
        data = tag + text.encode()
        if literal is not None:
            data += b" {%d+}\r\n" % len(literal) + literal
        self.write(data + b"\r\n")
        return self.until(tag, text)

    def until(self, tag, text):
        told = []
        while True:
            line = self.line()
            if not line.startswith(tag):
                told.append(line)
                continue
            if not line.startswith(tag + b"OK"):
                raise Refused("%s: %s" % (text, line.decode(errors="replace").strip()))
            self.tagged = line
            return told

    def idle(self, seconds):
        """What is told within this time, or as soon as something is."""
        self.tags += 1
        tag = b"t%d " % self.tags
        self.write(tag + b"IDLE\r\n")
        line = self.line()
        if line.startswith(tag):
            raise Refused(line)
        told = []
        self.sock.settimeout(seconds)
        try:
            if self.file.peek(1):
                told.append(self.line())
        except OSError:
            self.file = self.sock.makefile("rb")       # a reader that timed out refuses to go on
        except Gone as gone:
            if not isinstance(gone.__cause__, TimeoutError):
                raise
        finally:
            self.sock.settimeout(60)
        self.write(b"DONE\r\n")
        return told + self.until(tag, "IDLE")

    def close(self):
        try:
            self.sock.close()
        except OSError:
            pass
