/* test_internal.h - what test.c tells test_main.c. */
#pragma once

#include "base/test.h"

struct test *test_first(void);
