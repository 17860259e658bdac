/* context.c - stacks and the switch between them (see context.h).
 *
 * Owns the mappings. Called by fiber.c. Fails only when mmap does. The switch itself is a dozen
 * lines of assembly on x86-64 and aarch64 and swapcontext(3), which costs two system calls, on
 * anything else (or with -DRT_UCONTEXT, to test that).
 */
#include "rt/context.h"

#include <assert.h>
#include <sys/mman.h>
#include <unistd.h>

#ifdef RT_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#include <sanitizer/lsan_interface.h>
#endif
#ifdef RT_TSAN
#include <sanitizer/tsan_interface.h>
#endif
#if defined(__has_include)
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#endif
#endif
#ifndef VALGRIND_STACK_REGISTER
#define VALGRIND_STACK_REGISTER(start, end) 0
#define VALGRIND_STACK_DEREGISTER(id) (void)(id)
#endif

/* --- the switch (rounding modes are not saved: nobody here changes them) -------------------------
 */

#if !defined(RT_UCONTEXT) && (defined(__x86_64__) || defined(__aarch64__))

/* Saves the callee-saved registers on this stack, its pointer in *save, and goes on at `to`. */
void rt_stack_switch(void **save, void *to);

#if defined(__x86_64__)
__asm__(".text\n"
        ".globl rt_stack_switch\n"
        ".hidden rt_stack_switch\n"
        ".type rt_stack_switch,@function\n"
        ".p2align 4\n"
        "rt_stack_switch:\n"
        "    pushq %rbp\n"
        "    pushq %rbx\n"
        "    pushq %r12\n"
        "    pushq %r13\n"
        "    pushq %r14\n"
        "    pushq %r15\n"
        "    movq %rsp, (%rdi)\n"
        "    movq %rsi, %rsp\n"
        "    popq %r15\n"
        "    popq %r14\n"
        "    popq %r13\n"
        "    popq %r12\n"
        "    popq %rbx\n"
        "    popq %rbp\n"
        "    ret\n"
        ".size rt_stack_switch,.-rt_stack_switch\n");

/* six registers, the address to return to, and the end of the call chain for unwinders */
#define FRAME_WORDS 8
#define FRAME_ENTRY 6
#else
__asm__(".text\n"
        ".globl rt_stack_switch\n"
        ".hidden rt_stack_switch\n"
        ".type rt_stack_switch,%function\n"
        ".p2align 4\n"
        "rt_stack_switch:\n"
        "    sub sp, sp, #160\n"
        "    stp x19, x20, [sp, #0]\n"
        "    stp x21, x22, [sp, #16]\n"
        "    stp x23, x24, [sp, #32]\n"
        "    stp x25, x26, [sp, #48]\n"
        "    stp x27, x28, [sp, #64]\n"
        "    stp x29, x30, [sp, #80]\n"
        "    stp d8, d9, [sp, #96]\n"
        "    stp d10, d11, [sp, #112]\n"
        "    stp d12, d13, [sp, #128]\n"
        "    stp d14, d15, [sp, #144]\n"
        "    mov x9, sp\n"
        "    str x9, [x0]\n"
        "    mov sp, x1\n"
        "    ldp x19, x20, [sp, #0]\n"
        "    ldp x21, x22, [sp, #16]\n"
        "    ldp x23, x24, [sp, #32]\n"
        "    ldp x25, x26, [sp, #48]\n"
        "    ldp x27, x28, [sp, #64]\n"
        "    ldp x29, x30, [sp, #80]\n"
        "    ldp d8, d9, [sp, #96]\n"
        "    ldp d10, d11, [sp, #112]\n"
        "    ldp d12, d13, [sp, #128]\n"
        "    ldp d14, d15, [sp, #144]\n"
        "    add sp, sp, #160\n"
        "    ret\n"
        ".size rt_stack_switch,.-rt_stack_switch\n");

#define FRAME_WORDS 20
#define FRAME_ENTRY 11 /* x30 */
#endif

#define SWITCH_STACKS(from, to) rt_stack_switch(&(from)->sp, (to)->sp)

static void prepare_stack(struct context *c, void (*first)(void))
{
    void **frame = (void **)(void *)c - FRAME_WORDS; /* c is 16-aligned, so is the frame */

    frame[FRAME_ENTRY] = (void *)first;
    c->sp = frame;
}

#else

#include <ucontext.h>

#define SWITCH_STACKS(from, to)                                                                    \
    do {                                                                                           \
        ucontext_t here_;                                                                          \
                                                                                                   \
        (from)->sp = &here_;                                                                       \
        swapcontext(&here_, (ucontext_t *)(to)->sp);                                               \
    } while (0)

static void prepare_stack(struct context *c, void (*first)(void))
{
    ucontext_t *u =
        (ucontext_t *)(void *)c->stack; /* read once, long before calls get down there */

    if (getcontext(u) < 0)
        abort();
    u->uc_stack.ss_sp = c->stack;
    u->uc_stack.ss_size = (size_t)((char *)c - c->stack);
    makecontext(u, first, 0);
    c->sp = u;
}

#endif

/* --- telling the tools --------------------------------------------------------------------------
 */

static struct context *switching_from, *switching_to;

static inline void after_switch(void)
{
#ifdef RT_ASAN
    const void *bottom;
    size_t bytes;

    __sanitizer_finish_switch_fiber(switching_to->fake_stack, &bottom, &bytes);
    if (switching_from->stack == NULL) { /* first time away from the thread's own stack */
        switching_from->stack = (char *)(uintptr_t)bottom;
        switching_from->stack_bytes = bytes;
    }
#endif
}

void context_switch(struct context *from, struct context *to)
{
    switching_from = from;
    switching_to = to;
#ifdef RT_ASAN
    __sanitizer_start_switch_fiber(&from->fake_stack, to->stack, to->stack_bytes);
#endif
#ifdef RT_TSAN
    __tsan_switch_to_fiber(to->tsan_fiber,
                           0); /* no function may begin or end from here to the switch */
#endif
    SWITCH_STACKS(from, to);
    after_switch();
}

static void first_call(void)
{
    struct context *c = switching_to;

    after_switch();
    c->entry(c->arg);
    abort(); /* entry does not return */
}

void context_init_loop(struct context *loop)
{
    *loop = (struct context){0};
#ifdef RT_TSAN
    loop->tsan_fiber = __tsan_get_current_fiber();
#endif
}

/* --- stacks -------------------------------------------------------------------------------------
 */

static size_t page_bytes(void)
{
    static size_t bytes;

    if (bytes == 0)
        bytes = (size_t)sysconf(_SC_PAGESIZE);
    return bytes;
}

struct context *context_new(void (*entry)(void *arg), void *arg)
{
    size_t guard = page_bytes();
    struct context *c;
    char *p;

    p = mmap(NULL, STACK_BYTES + guard, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    if (mprotect(p, guard, PROT_NONE) < 0) {
        munmap(p, STACK_BYTES + guard);
        return NULL;
    }
    c = (struct context *)(void *)(p + guard + STACK_BYTES - CONTEXT_USER_BYTES -
                                   ((sizeof *c + 15) & ~(size_t)15));
    c->stack = p + guard;
    c->stack_bytes = STACK_BYTES;
    c->entry = entry;
    c->arg = arg;
    prepare_stack(c, first_call);
    c->valgrind_id = VALGRIND_STACK_REGISTER(c->stack, c->stack + STACK_BYTES);
#ifdef RT_ASAN
    __lsan_register_root_region(c->stack, STACK_BYTES);
#endif
#ifdef RT_TSAN
    c->tsan_fiber = __tsan_create_fiber(0);
#endif
    return c;
}

void *context_user(struct context *c)
{
    return c->stack + c->stack_bytes - CONTEXT_USER_BYTES;
}

void context_free(struct context *c)
{
    size_t guard = page_bytes();

    VALGRIND_STACK_DEREGISTER(c->valgrind_id);
#ifdef RT_ASAN
    __lsan_unregister_root_region(c->stack, STACK_BYTES);
    __asan_unpoison_memory_region(c->stack, STACK_BYTES);
#endif
#ifdef RT_TSAN
    __tsan_destroy_fiber(c->tsan_fiber);
#endif
    munmap(c->stack - guard, STACK_BYTES + guard);
}

size_t context_peak_bytes(const struct context *c)
{
    unsigned char resident[STACK_BYTES / 4096];
    size_t page = page_bytes(), pages = c->stack_bytes / page;

    if (pages > sizeof resident || mincore(c->stack, c->stack_bytes, resident) < 0)
        return 0;
    for (size_t i = 0; i < pages; i++) {
        if (resident[i] & 1)
            return (pages - i) * page;
    }
    return 0;
}
