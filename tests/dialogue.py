#!/usr/bin/python3
r"""dialogue.py - plays scripted dialogues against a line protocol (IMAP, SMTP, POP3) and compares the answers.

A file is a list of lines, played from top to bottom:

    # comment
    C: a1 NOOP                  sent with CRLF
    S: a1 OK ...                the next line of the server must look like this; "..." stands for any text
    S*: a2 OK ...               the same, after skipping any lines before it
    S!: * 3 EXPUNGE             no line up to the next S: or S*: of this connection may look like this
    C2: ...   S2: ...           the same on a second connection (any digit); opened when first used
    login user                  IMAP LOGIN with the account of this run, on connection 1; "login2 user" on connection 2
    plain                       first line: connects to --plain-port, without TLS
    starttls                    begins TLS on the connection (after its answer was read); "starttls2"
    closed                      the server must have closed the connection; "closed2"
    repeat 300 C: text          sends the same line several times
    <name>                      in an S: line: takes the text there (no spaces) under this name
    $name                       in C: and S: lines: that text; $user, $password, $plain (for SASL) are the account's
    \r \n \0 \x41             in C: lines, those bytes; a final \ means: no CRLF

Exit status 0 when every file played to its end. Waiting for a line is limited (--seconds).
"""
import argparse
import base64
import re
import socket
import ssl
import subprocess
import sys


class Failure(Exception):
    pass


class Skipped(Exception):
    pass


class Connection:
    def __init__(self, options, plain):
        self.options = options
        self.socket = socket.create_connection((options.host, options.plain_port if plain else options.port), timeout=options.seconds)
        self.buffer = b""
        self.forbidden = []
        if options.tls and not plain:
            self.start_tls()

    def start_tls(self):
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self.socket = context.wrap_socket(self.socket, server_hostname="localhost")

    def send(self, data):
        try:
            self.socket.sendall(data)
        except OSError as error:
            raise Failure(f"sending: {error}")

    def line(self):
        while b"\n" not in self.buffer:
            try:
                piece = self.socket.recv(65536)
            except (socket.timeout, TimeoutError):
                raise Failure("no line came" + (f"; unfinished: {self.buffer!r}" if self.buffer else ""))
            except OSError as error:
                raise Failure(f"reading: {error}")
            if not piece:
                return None
            self.buffer += piece
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.rstrip(b"\r").decode("utf-8", "surrogateescape")


def pattern_of(text, variables):
    """The expression for an expected line, and what it captures."""
    out, names = "", []
    for part in re.split(r"(\.\.\.|<[a-z]+>|\$[a-z]+)", text):
        if part == "...":
            out += ".*"
        elif re.fullmatch(r"<[a-z]+>", part):
            out += f"(?P<{part[1:-1]}>[^ \\])]+)"
            names.append(part[1:-1])
        elif re.fullmatch(r"\$[a-z]+", part) and part[1:] in variables:
            out += re.escape(variables[part[1:]])
        else:
            out += re.escape(part)
    return re.compile(out, re.DOTALL), names


ESCAPES = {"r": b"\r", "n": b"\n", "0": b"\0"}


def bytes_of(text, variables):
    for name, value in variables.items():
        text = text.replace("$" + name, value)
    end = b"\r\n"
    if text.endswith("\\"):
        text, end = text[:-1], b""
    out = b""
    for part in re.split(r"(\\[rn0]|\\x[0-9a-fA-F]{2})", text):
        if re.fullmatch(r"\\[rn0]", part):
            out += ESCAPES[part[1]]
        elif re.fullmatch(r"\\x[0-9a-fA-F]{2}", part):
            out += bytes([int(part[2:], 16)])
        else:
            out += part.encode("utf-8", "surrogateescape")
    return out + end


class Player:
    def __init__(self, options, variables):
        self.options, self.variables, self.connections, self.trace = options, variables, {}, []
        self.plain = False

    def connection(self, number):
        if number not in self.connections:
            self.connections[number] = Connection(self.options, self.plain)
        return self.connections[number]

    def read(self, number):
        line = self.connection(number).line()
        self.trace.append(f"{number}< {line}")
        if line is None:
            raise Failure("the server closed the connection")
        for text, pattern in self.connection(number).forbidden:
            if pattern.fullmatch(line):
                raise Failure(f"must not come: {text}")
        return line

    def expect(self, number, text, skip):
        pattern, names = pattern_of(text, self.variables)
        while True:
            line = self.read(number)
            match = pattern.fullmatch(line)
            if match:
                break
            if not skip:
                raise Failure(f"expected: {text}\n     got: {line}")
        self.connection(number).forbidden = []
        for name in names:
            self.variables[name] = match[name]

    def send(self, number, text):
        self.trace.append(f"{number}> {text}")
        self.connection(number).send(bytes_of(text, self.variables))

    def word(self, line):
        """A directive without a colon."""
        name, _, rest = line.partition(" ")
        match = re.fullmatch(r"(login|plain|starttls|closed|repeat)(\d?)", name)
        if not match:
            raise Failure(f"not understood: {line}")
        word, number = match[1], match[2] or "1"
        if word == "login":
            self.expect(number, "* OK ...", False)
            self.send(number, 'login LOGIN "$user" "$password"')
            self.expect(number, "login OK ...", True)
        elif word == "plain":
            if not self.options.plain_port:
                raise Skipped("needs --plain-port")
            self.plain = True
        elif word == "starttls":
            self.connection(number).start_tls()
        elif word == "closed":
            while self.connection(number).line() is not None:
                pass
        else:
            count, _, line = rest.partition(" ")
            for _ in range(int(count)):
                self.play_line(line)

    def play_line(self, line):
        match = re.fullmatch(r"([CS])(\d?)([*!]?): ?(.*)", line)
        if not match:
            self.word(line)
            return
        side, number, mark, text = match[1], match[2] or "1", match[3], match[4]
        if side == "C":
            self.send(number, text)
        elif mark == "!":
            self.connection(number).forbidden.append((text, pattern_of(text, self.variables)[0]))
        else:
            self.expect(number, text, mark == "*")

    def play(self, path):
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                line = line.rstrip("\n")
                if not line.strip() or line.startswith("#"):
                    continue
                try:
                    self.play_line(line)
                except Failure as failure:
                    last = "\n".join("    " + entry for entry in self.trace[-8:])
                    raise Failure(f"{path}:{number}: {failure}\n{last}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--plain-port", type=int, default=0, help="where dialogues that say plain connect")
    parser.add_argument("--tls", action="store_true", help="implicit TLS")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--user", default="", help="account; with --account made anew for each file")
    parser.add_argument("--password", default="")
    parser.add_argument("--account", help="command that makes an account and prints: address password")
    parser.add_argument("--set", action="append", default=[], help="name=text, for $name")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("files", nargs="+")
    options = parser.parse_args()

    failed = 0
    for path in options.files:
        variables = dict(item.split("=", 1) for item in options.set)
        variables["user"], variables["password"] = options.user, options.password
        if options.account:
            made = subprocess.run(options.account, shell=True, check=True, capture_output=True, text=True).stdout.split()
            variables["user"], variables["password"] = made[0], made[1]
        variables["plain"] = base64.b64encode(f"\0{variables['user']}\0{variables['password']}".encode()).decode()
        player = Player(options, variables)
        try:
            player.play(path)
            print(f"ok    {path}")
        except Skipped as reason:
            print(f"skip  {path}: {reason}")
        except (Failure, OSError) as failure:
            failed += 1
            print(f"FAIL  {failure}")
        if options.verbose:
            print("\n".join(player.trace))
        for connection in player.connections.values():
            connection.socket.close()
    return 1 if failed else 0


sys.exit(main())
