"""corpus.py - messages as they come from real mail programs and broken ones, made from a seed; lines end in CRLF, no NUL."""
import base64
import random


def text(body, extra=""):
    return ("Content-Type: text/plain; charset=utf-8\r\n" + extra + "\r\n").encode() + body


def multipart(parts, boundary, subtype="mixed", preamble=b"", epilogue=b""):
    dash = b"--" + boundary.encode()
    out = b'Content-Type: multipart/%s; boundary="%s"\r\n\r\n' % (subtype.encode(), boundary.encode()) + preamble
    return out + b"".join(dash + b"\r\n" + p + b"\r\n" for p in parts) + dash + b"--\r\n" + epilogue


def binary(r, size):
    """Any byte but NUL, CR and LF, in lines of any length."""
    allowed = bytes(b for b in range(1, 256) if b not in (10, 13))
    lines = []
    while size > 0:
        n = min(size, r.randrange(1, 700))
        lines.append(bytes(r.choices(allowed, k=n)))
        size -= n
    return b"\r\n".join(lines) + b"\r\n"


def nested(depth, inner):
    for i in range(depth):
        inner = b"Subject: level %d\r\nContent-Type: message/rfc822\r\n\r\n" % i + inner
    return inner


KINDS = {
    "plain": lambda r: text(b"Hello.\r\n-- \r\nme\r\n"),
    "empty body": lambda r: text(b""),
    "no final newline": lambda r: text(b"the last line just ends"),
    "header only lines": lambda r: b"Subject: second subject\r\nX-Empty:\r\nX-Folded: a\r\n\tb\r\n  c\r\n\r\n",
    "8-bit header": lambda r: b"X-Latin: Gr\xfc\xdfe aus K\xf6ln\r\nSubject: \xc3\xa4\xc3\xb6 \xe2\x82\xac\r\nTo: J\xf6rg <j@bench.test>\r\n" + text(b"\xe4\xf6\xfc\r\n"),
    "encoded words": lambda r: b"Subject: =?UTF-8?B?w6TDtsO8?= =?utf-8?q?_=E2=82=AC?= =?x-none?Q?=zz?= =?broken\r\n" + text(b"x\r\n"),
    "long line": lambda r: text(b"x" * r.choice([998, 999, 5000, 70000]) + b"\r\n"),
    "long header": lambda r: b"References: " + b"\r\n ".join(b"<%d.%d@stranger.test>" % (i, r.randrange(10**9)) for i in range(300)) + b"\r\n" + text(b"x\r\n"),
    "binary": lambda r: text(binary(r, r.randrange(100, 20000)), "Content-Transfer-Encoding: binary\r\n"),
    "dots": lambda r: text(b".\r\n..\r\n.a\r\n\r\n.\r\n\r\n"),
    "only newlines": lambda r: text(b"\r\n" * r.randrange(1, 40)),
    "multipart": lambda r: multipart([text(b"one"), b"Content-Type: application/octet-stream; name=\"a b.bin\"\r\nContent-Transfer-Encoding: base64\r\n\r\n"
                                      + base64.encodebytes(r.randbytes(r.randrange(10, 9000))).replace(b"\n", b"\r\n")], "b%d" % r.randrange(10**9), preamble=b"preamble\r\n", epilogue=b"after\r\n"),
    "odd boundary": lambda r: multipart([text(b"one"), text(b"--two\r\n-- three")], "'()+_,-./:=? " + "x" * r.randrange(1, 40)),
    "bare boundary": lambda r: b"Content-Type: multipart/mixed; boundary=----=_Next_%d\r\n\r\n------=_Next\r\n\r\nno part of it\r\n" % r.randrange(99),
    "unclosed multipart": lambda r: multipart([text(b"one"), text(b"two")], "open")[:-10],
    "boundary missing": lambda r: b"Content-Type: multipart/mixed\r\n\r\n--x\r\n\r\ntext\r\n--x--\r\n",
    "part without header": lambda r: multipart([b"\r\nbare", b"", b"\r\n"], "z"),
    "same boundary inside": lambda r: multipart([multipart([text(b"in")], "s"), text(b"out")], "s"),
    "rfc822": lambda r: nested(r.randrange(1, 12), b"From: deep@stranger.test\r\nSubject: inner\r\n" + text(b"deep\r\n")),
    "alternative": lambda r: multipart([text(b"t"), b"Content-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<p>=C3=A4=\r\n</p>"], "alt", "alternative"),
    "broken types": lambda r: b"Content-Type: ; charset\r\nContent-Disposition: ==\r\nContent-Transfer-Encoding: what\r\n\r\n\xff\xfe\r\n",
    "parameters continued": lambda r: b"Content-Type: application/x; name*0*=utf-8''%e2%82; name*1*=%ac; name*2=\".txt\"\r\n\r\nx\r\n",
    "space before colon": lambda r: b"X-Odd : yes\r\nX-: no\r\n" + text(b"x\r\n"),
    "many recipients": lambda r: b"Cc: " + b",\r\n ".join(b"\"N, %d\" <n%d@bench.test>" % (i, i) for i in range(200)) + b"\r\n" + text(b"x\r\n"),
    "quoted dates": lambda r: b"Date: Thu, 32 Foo 20026 99:99 (what)\r\n" + text(b"x\r\n"),
}


def messages(count, seed=1):
    r = random.Random(seed)
    kinds = list(KINDS)
    out = []
    for i in range(count):
        kind = kinds[i % len(kinds)]
        head = "From: =?utf-8?q?J=C3=B6?= <someone@stranger.test>\r\nMessage-ID: <%d.%d@stranger.test>\r\nX-Kind: %s\r\n" % (seed, i, kind)
        if "Date" not in kind:
            head += "Date: Tue, 24 Nov 2026 12:00:%02d +0000\r\n" % (i % 60)
        out.append(head.encode() + KINDS[kind](r))
    return out
