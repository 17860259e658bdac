"""kept.py STATE - what is in the demo mailbox: number of messages and UIDVALIDITY, one line, to be compared before and after."""
import imaplib
import ssl
import sys

env = dict(line.strip().split("=", 1) for line in open(sys.argv[1] + "/suite.env"))
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
box = imaplib.IMAP4_SSL("127.0.0.1", int(env["IMAPS_PORT"]), ssl_context=context)
box.login(env["DEMO_ADDRESS"], env["DEMO_PASSWORD"])
print("INBOX has", box.select("INBOX", readonly=True)[1][0].decode(), "messages,", box.status("INBOX", "(UIDNEXT UIDVALIDITY)")[1][0].decode())
