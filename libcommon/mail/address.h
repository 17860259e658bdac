/* address.h - mail addresses as the rules of delivery see them: user, tag, domain in A-labels, organisation.
 *
 * Owns nothing; results live in the arena. Used by mx, smtp, smtp-bree. Never suspends. Any thread.
 */
#pragma once

#include "base/arena.h"

#define ADDRESS_MAX_BYTES 1024

struct address {
    struct slice text;                 /* local as given "@" domain */
    struct slice local;                /* as given */
    struct slice user;                 /* local up to the first "+", lower case */
    struct slice tag;                  /* behind the first "+", as given; p NULL when there is no "+" */
    struct slice domain;               /* lower case A-labels, or "[literal]" */
    bool is_literal;
};

/* local@domain without quotes around the local part (those are not supported here). UTF-8 is allowed in the local part and
 * becomes A-labels in the domain. False when it is no address.                                                           */
bool address_parse(struct arena *a, struct slice in, struct address *out) MUST_CHECK;
/* Labels of letters, digits, - and _, 63 bytes each, 253 in all; no final dot. */
bool address_domain_is_valid(struct slice domain);
/* user@domain: what looks up an alias. */
struct slice address_without_tag(struct arena *a, const struct address *address);
/* The registrable domain ("example.co.uk") by the ICANN section of the Public Suffix List; an address literal, an IP, or a
 * public suffix is its own. `domain` in lower case A-labels; the result is a part of it.                                 */
struct slice address_root_domain(struct slice domain);
/* Names no person reads: postmaster, mailer-daemon, no-reply and their like. `user` as in struct address. */
bool address_is_automatic(struct slice user);
/* "no-reply" and its spellings only. */
bool address_is_noreply(struct slice user);
