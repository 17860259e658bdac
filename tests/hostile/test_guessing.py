"""test_guessing.py - who guesses passwords learns nothing about names, is slowed, then refused; others get in meanwhile."""
import base64
import http.client
import threading
import time

import hostile
from hostile import Imap, Smtp

FAILURES_MAX = 10           # LOGIN_FAILURES_MAX
SAMPLES = 4


def imap_try(source, user, password):
    """The answer without its tag, and how long it took."""
    with Imap(source=source) as c:
        from_s = time.monotonic()
        answer = c.do(b"LOGIN %s %s" % (user.encode(), password.encode()))[-1]
        return answer.split(b" ", 1)[1], time.monotonic() - from_s


def smtp_try(source, user, password):
    with Smtp("SMTPS_PORT", tls=True, source=source) as c:
        c.say(b"EHLO x.test")
        from_s = time.monotonic()
        code, text = c.say(b"AUTH PLAIN " + base64.b64encode(f"\0{user}\0{password}".encode()))
        return text, time.monotonic() - from_s


def api_ask(source, user, password):
    """Status, the words of the answer, seconds."""
    c = http.client.HTTPConnection("127.0.0.1", hostile.port("API_PORT"), timeout=60, source_address=(source, 0))
    token = base64.b64encode(f"{user}:{password}".encode()).decode()
    from_s = time.monotonic()
    c.request("GET", "/v1/account", headers={"Authorization": "Basic " + token})
    answer = c.getresponse()
    text = answer.read()
    took = time.monotonic() - from_s
    c.close()
    return answer.status, text, took


def api_try(source, user, password):
    status, text, took = api_ask(source, user, password)
    return (b"OK " if status == 200 else b"%d " % status) + text, took


def disable(user):
    import subprocess
    command = f". {hostile.STATE}/daemon.env; exec {hostile.ENV['BUILD_DIR']}/bin/fectl alias disable {user}"
    subprocess.run(["bash", "-c", command], check=True, capture_output=True)


def test_names_stay_unknown():
    disable("u18@bench.test")
    who = {"known": "u3@bench.test", "unknown": "nobody@bench.test", "elsewhere": "u3@no-such-domain.test", "disabled": "u18@bench.test", "odd": "@"}
    for attempt, net in ((imap_try, 1), (smtp_try, 2), (api_try, 3)):
        words, times = {}, {name: [] for name in who}
        for i in range(SAMPLES):
            for j, (name, user) in enumerate(who.items()):
                password = "pass" if name == "disabled" else "wrong"
                text, took = attempt(f"127.1.{net}.{1 + i * len(who) + j}", user, password)
                words.setdefault(name, set()).add(text)
                times[name].append(took)
        assert len({text for texts in words.values() for text in texts}) == 1, words
        medians = {name: hostile.median(t) for name, t in times.items()}
        assert max(medians.values()) <= 1.2 * min(medians.values()), medians


def test_tokens_are_not_found_by_time_or_words():
    """A token that is nearly right, one that is not, one of another length: the same words, the same time within the noise."""
    token = hostile.ENV["ADMIN_TOKEN"]
    tries = {"first": ("0" if token[0] != "0" else "1") + token[1:], "last": token[:-1] + ("0" if token[-1] != "0" else "1"), "short": "x", "long": token * 4}
    words, times = set(), {name: [] for name in tries}
    for _ in range(20):
        for name, guess_ in tries.items():
            status, text, took = api_ask("127.0.0.11", guess_, "")
            assert status == 401
            words.add(text)
            times[name].append(took)
    assert len(words) == 1, words
    medians = {name: hostile.median(t) for name, t in times.items()}
    assert max(medians.values()) <= 1.2 * min(medians.values()) + 0.001, medians
    assert token not in hostile.logs()
    assert api_ask("127.0.0.11", token, "")[0] == 200


def guess(attempt, source, out):
    """Distinct wrong passwords until the words change; then the right one."""
    first, _ = attempt(source, "u4@bench.test", "wrong0")
    for n in range(1, FAILURES_MAX + 3):
        text, _ = attempt(source, "u4@bench.test", f"wrong{n}")
        if text != first:
            break
    out[source] = (n, attempt(source, "u4@bench.test", "pass")[0])


def test_a_guesser_is_refused_and_others_are_not():
    out = {}
    threads = [threading.Thread(target=guess, args=(imap_try, "127.0.0.4", out)), threading.Thread(target=guess, args=(smtp_try, "127.0.0.5", out)),
               threading.Thread(target=guess, args=(api_try, "127.0.0.8", out))]
    hostile.WAIT_S = 30
    for t in threads:
        t.start()
    while any(t.is_alive() for t in threads):
        assert imap_try("127.0.0.3", "u4@bench.test", "pass")[0].startswith(b"OK")
        assert smtp_try("127.0.0.3", "u4@bench.test", "pass")[0].startswith(b"235")
        time.sleep(1)
    for source, (n, answer) in out.items():
        assert n == FAILURES_MAX, (source, n)
        assert not answer.startswith((b"OK", b"235")), (source, answer)
    assert len(out) == 3
    assert imap_try("127.0.0.3", "u4@bench.test", "pass")[0].startswith(b"OK")


def test_guessing_all_at_once():
    """Fifty guesses sent together are no way around the limit."""
    sessions = [Imap(source="127.0.0.6") for _ in range(50)]
    for i, c in enumerate(sessions):
        c.send(b"a LOGIN u5@bench.test together%d\r\n" % i)
    answers = [c.line() for c in sessions]
    denied = sum(b"AUTHENTICATIONFAILED" in a for a in answers)
    limited = sum(b"[LIMIT]" in a for a in answers)
    for c in sessions:
        c.close()
    assert denied + limited == len(sessions), answers
    assert denied <= FAILURES_MAX, denied


def test_one_wrong_password_again_and_again_is_no_guessing():
    for _ in range(FAILURES_MAX + 5):
        imap_try("127.0.0.7", "u6@bench.test", "old-password")
    assert imap_try("127.0.0.7", "u6@bench.test", "pass")[0].startswith(b"OK")


def test_passwords_are_not_logged():
    for word in ("together1", "wrong0", "old-password"):
        assert word not in hostile.logs()
