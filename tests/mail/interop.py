#!/usr/bin/python3
"""interop.py FOLDER - the other side of libcommon/mail/interop_test.c: dkimpy against our signatures and seals, and its own for us.

Reads   FOLDER/keys ("name record" lines), FOLDER/rsa.pem, FOLDER/our-*.eml, FOLDER/plain-*.eml
Prints  "file ok" or "file FAILED ..." for each of ours
Writes  FOLDER/their-*.eml, signed or sealed by dkimpy
"""
import glob
import os
import sys

import dkim

folder = sys.argv[1]
keys = dict(line.rstrip("\n").split(" ", 1) for line in open(os.path.join(folder, "keys")))


def dns(name, timeout=5):
    return keys.get(name.decode().rstrip("."), "").encode() or None


def read(path):
    with open(path, "rb") as f:
        return f.read()


def write(name, data):
    with open(os.path.join(folder, name), "wb") as f:
        f.write(data)


def check_ours():
    for path in sorted(glob.glob(os.path.join(folder, "our-*.eml"))):
        message, name = read(path), os.path.basename(path)
        if "arc" in name:
            cv, _, reason = dkim.arc_verify(message, dnsfunc=dns)
            print(name, "ok" if cv == dkim.CV_Pass else "FAILED %s %s" % (cv, reason))
        else:
            print(name, "ok" if dkim.verify(message, dnsfunc=dns) else "FAILED")


def sign_theirs():
    pem = read(os.path.join(folder, "rsa.pem"))
    for path in sorted(glob.glob(os.path.join(folder, "plain-*.eml"))):
        message, n = read(path), os.path.basename(path)[len("plain-"):-len(".eml")]
        for header in (b"simple", b"relaxed"):
            for body in (b"simple", b"relaxed"):
                field = dkim.sign(message, b"rsa", b"a.test", pem, canonicalize=(header, body))
                write("their-dkim-%s-%s-%s.eml" % (n, header.decode(), body.decode()), field + message)
        sealed = message
        for verdict in (b"spf=pass smtp.mailfrom=joe@a.test", b"arc=pass"):      # dkimpy takes cv= from the newest one
            sealed = b"Authentication-Results: mx.a.test; " + verdict + b"\r\n" + sealed
            fields = dkim.arc_sign(sealed, b"rsa", b"a.test", pem, b"mx.a.test")
            if not fields:
                sys.exit("dkimpy does not seal " + path)
            sealed = b"".join(fields) + sealed
        write("their-arc-%s.eml" % n, sealed)


check_ours()
sign_theirs()
