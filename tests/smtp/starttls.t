# tests/smtp/starttls.t - RFC 4954 4, RFC 3207: no password in the clear
plain
S: 220 ...
S!: 250-AUTH...
C: EHLO client.test
S*: 250-STARTTLS
S*: 250 ENHANCEDSTATUSCODES
C: AUTH PLAIN $plain
S: 538 5.7.11 ...
C: STARTTLS
S: 220 2.0.0 ...
starttls
C: EHLO client.test
S*: 250-AUTH PLAIN LOGIN
S*: 250 ENHANCEDSTATUSCODES
C: AUTH PLAIN $plain
S: 235 2.7.0 ...
C: QUIT
S: 221 ...
closed
