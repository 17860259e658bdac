/* test.h - our unit tests: TEST() registers itself, main() in test_main.c runs all and prints
 * "N passed, N failed". Arguments are name filters ("slice" or "slice.cuts"). Each test has an arena.
 */
#pragma once

#include "base/arena.h"
#include "base/fault.h"

struct test {
    const char *suite, *name;
    void (*run)(struct test *t);
    struct arena *arena;
    int failures;
    struct test *next;
};

void test_register(struct test *t);
void test_fail(struct test *t, const char *file, int line, const char *format, ...) PRINTF_LIKE(4, 5);

#define TEST(suite_, name_) \
    static void test_##suite_##_##name_(struct test *t); \
    static struct test test_row_##suite_##_##name_ = { .suite = #suite_, .name = #name_, .run = test_##suite_##_##name_ }; \
    __attribute__((constructor)) static void test_reg_##suite_##_##name_(void) { test_register(&test_row_##suite_##_##name_); } \
    static void test_##suite_##_##name_(UNUSED struct test *t)

#define CHECK(cond) \
    do { if (!(cond)) test_fail(t, __FILE__, __LINE__, "%s", #cond); } while (0)
#define REQUIRE(cond) \
    do { if (!(cond)) { test_fail(t, __FILE__, __LINE__, "%s", #cond); return; } } while (0)
#define CHECK_INT(want, got) \
    do { long long w_ = (long long)(want), g_ = (long long)(got); \
         if (w_ != g_) test_fail(t, __FILE__, __LINE__, "%s: want %lld, got %lld", #got, w_, g_); } while (0)
#define CHECK_SLICE(want, got) \
    do { struct slice w_ = (want), g_ = (got); \
         if (!slice_equal(w_, g_)) test_fail(t, __FILE__, __LINE__, "%s: want [%.*s], got [%.*s]", #got, SLICE(w_), SLICE(g_)); } while (0)
/* `got` may be a slice or a C string */
struct slice test_slice_self(struct slice s);
#define TEST_SLICE(x) _Generic((x), struct slice: test_slice_self, default: slice_of)(x)
#define CHECK_STR(want, got) CHECK_SLICE(slice_of(want), TEST_SLICE(got))
#define CHECK_ROW(i, cond) \
    do { if (!(cond)) test_fail(t, __FILE__, __LINE__, "row %zu: %s", (size_t)(i), #cond); } while (0)
#define CHECK_ROW_SLICE(i, want, got) \
    do { struct slice w_ = (want), g_ = (got); \
         if (!slice_equal(w_, g_)) test_fail(t, __FILE__, __LINE__, "row %zu: want [%.*s], got [%.*s]", (size_t)(i), SLICE(w_), SLICE(g_)); } while (0)
#define CHECK_ROW_STR(i, want, got) CHECK_ROW_SLICE(i, slice_of(want), TEST_SLICE(got))
#define CHECK_OK(call, why) \
    do { if ((call) < 0) test_fail(t, __FILE__, __LINE__, "%s: %s: %s", #call, fault_code_name((why)->code), (why)->text); } while (0)
#define REQUIRE_OK(call, why) \
    do { if ((call) < 0) { test_fail(t, __FILE__, __LINE__, "%s: %s: %s", #call, fault_code_name((why)->code), (why)->text); return; } } while (0)
#define CHECK_FAULT(code_, call, why) \
    do { if ((call) >= 0) test_fail(t, __FILE__, __LINE__, "%s: should have failed", #call); \
         else if ((why)->code != (code_)) test_fail(t, __FILE__, __LINE__, "%s: want %s, got %s: %s", #call, fault_code_name(code_), fault_code_name((why)->code), (why)->text); } while (0)
