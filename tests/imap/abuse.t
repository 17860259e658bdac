# tests/imap/abuse.t - too many errors end a connection
login user
repeat 49 C: x BOGUS
repeat 49 S: x BAD ...
C: x BOGUS
S*: * BYE too many errors
closed
