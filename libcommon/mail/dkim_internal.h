/* dkim_internal.h - what dkim_*.c share. */
#pragma once

#include <openssl/evp.h>

#include "mail/dkim.h"

struct dkim_key {
    EVP_PKEY *pkey;
    enum dkim_algorithm algorithm;
};
