#!/bin/bash
# story.sh STATE - the whole life of a domain by REST, with nothing but an API token and curl: made, its missing records found and added to the test DNS, verified,
# an address with a mailbox, mail received by MX and read by IMAP, mail sent, its story told. Each step is printed with the answer that matters.
set -euo pipefail
state=$(realpath "$1")
cd "$(dirname "$0")/../.."
. "$state/suite.env"
domain=story-$(date +%s).test
say() { printf '\n-- %s\n' "$*"; }
die() { printf 'story: %s\n' "$*" >&2; exit 1; }
field() { jq -r ".$1"; }
api() { # PATH [curl options]: the body; any status
    local path=$1
    shift
    curl -sS -u "$ADMIN_TOKEN:" "$API_URL$path" "$@"
}
# until_says SECONDS TEXT COMMAND...: repeats the command until its output contains the text
until_says() {
    local n=$(($1 * 5)) text=$2 out
    shift 2
    while :; do
        out=$("$@" 2>&1 || true)
        [[ $out == *"$text"* ]] && { printf '%s\n' "$out"; return; }
        n=$((n - 1))
        [ $n -gt 0 ] || die "no '$text' in: $out"
        sleep 0.2
    done
}
# somebody else's mail server
smtp-sink -u nobody "127.0.0.2:$MX_PORT" 100 &
sink=$!
trap 'kill $sink' EXIT
record() { scripts/testdns --add "$state" "$@"; }

say "a domain"
made=$(api /v1/domains -d "domain=$domain" -d catchall=false)
proof=$(field verification_record <<<"$made")
echo "$domain: site verification $proof"

say "which records are missing?"
api "/v1/domains/$domain/verify-records" | field message

say "the records are added"
record "$domain." MX "10 mx.demo.test."
record "$domain." TXT "forward-email-site-verification=$proof"
until_says 20 verified api "/v1/domains/$domain/verify-records"

say "what does sending need?"
api "/v1/domains/$domain/verify-smtp" | field message
dkim=$(field smtp_dns_records.dkim.name <<<"$made") bounces=$(field smtp_dns_records.return_path.name <<<"$made")
record "$dkim.$domain." TXT "$(field smtp_dns_records.dkim.value <<<"$made")"
record "$bounces.$domain." CNAME "$(field smtp_dns_records.return_path.value <<<"$made")."
record "_dmarc.$domain." TXT "v=DMARC1; p=reject; pct=100;"
until_says 20 verified api "/v1/domains/$domain/verify-smtp"

say "an address with a mailbox, a copy to her old address, and its password"
api "/v1/domains/$domain/aliases" -d name=jane -d has_imap=true -d recipients=friend@outside.test | field id
login=$(api "/v1/domains/$domain/aliases/jane/generate-password" -X POST)
user=$(field username <<<"$login") password=$(field password <<<"$login")
echo "$user"

say "a stranger writes to her"
printf 'From: Bob <bob@stranger.test>\r\nTo: %s\r\nSubject: hello Jane\r\nMessage-ID: <%s@stranger.test>\r\n\r\nHow are you?\r\n' "$user" "$RANDOM$RANDOM" |
    curl -sS "smtp://127.0.0.1:$MX_PORT" --mail-from bob@stranger.test --mail-rcpt "$user" --upload-file -

say "she reads it"
until_says 20 "How are you?" curl -sS --cacert "$state/tls.crt" --resolve "mail.demo.test:$IMAPS_PORT:127.0.0.1" -u "$user:$password" \
    "imaps://mail.demo.test:$IMAPS_PORT/INBOX;MAILINDEX=1" | grep -a -E '^(Subject|How)'

say "she answers"
mail=$(api /v1/emails -d "from=$user" -d to=friend@outside.test -d "subject=hello Bob" -d "text=I am fine." | field id)
status() { api "/v1/emails/$mail" | field status; }
until_says 30 sent status

say "the story of her answer"
trace() { (. "$state/daemon.env" && "$BUILD_DIR/bin/fectl" trace "$mail"); }
until_says 20 smtp-bree.sent trace
printf '\nstory: all of it held\n'
