"""probe.py - one try to deliver, to submit, to append, to read, and the code of its answer; what was answered is remembered."""
import contextlib
import imaplib
import smtplib
import uuid

from suite import PASSWORD, STRANGER, eventually, imap, mail, mx, ok, subjects, submission, user

TEXT = ("0123456789" * 7 + "\r\n") * 20


def deliver(who, subject, body=TEXT):
    """MX's code for one try: 250, or what the sender may try again."""
    try:
        with mx() as s:
            s.sendmail(STRANGER, [who], mail(subject, body, to=who))
            return 250
    except smtplib.SMTPRecipientsRefused as refused:
        return next(iter(refused.recipients.values()))[0]
    except smtplib.SMTPResponseException as error:
        return error.smtp_code


def submit(who, subject, to="friend@outside.test", body=TEXT):
    try:
        s = submission(who)
        try:
            s.sendmail(who, [to], mail(subject, body, to=to, sender=who))
        finally:
            with contextlib.suppress(OSError, smtplib.SMTPException):
                s.quit()
        return 250
    except smtplib.SMTPRecipientsRefused as refused:
        return next(iter(refused.recipients.values()))[0]
    except smtplib.SMTPResponseException as error:
        return error.smtp_code


def append(box, subject, body=TEXT):
    """OK, or the response code of NO."""
    status, answer = box.append("INBOX", None, None, mail(subject, body))
    return "OK" if status == "OK" else answer[0].decode().split("]")[0].strip("[")


def count(who, prefix):
    out = {}
    for s in subjects(who):
        if s.startswith(prefix):
            out[s] = out.get(s, 0) + 1
    return out


def new_run():
    return uuid.uuid4().hex[:12]
