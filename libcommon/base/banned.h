/* banned.h - calls that cut strings, overrun buffers or share hidden state; each names its replacement.
 *
 * Included before everything else by the build (-include), so nobody needs to remember it.
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <alloca.h>

#undef strcpy
#define strcpy(...)    strcpy_is_banned_use_buf_append_or_arena_copy
#undef strcat
#define strcat(...)    strcat_is_banned_use_buf_append
#undef sprintf
#define sprintf(...)   sprintf_is_banned_use_snprintf_or_buf_printf
#undef strncpy
#define strncpy(...)   strncpy_is_banned_use_slice_copy_cstr
#undef strtok
#define strtok(...)    strtok_is_banned_use_slice_cut
#undef atoi
#define atoi(...)      atoi_is_banned_use_slice_to_u64
#undef gmtime
#define gmtime(...)    gmtime_is_banned_use_gmtime_r
#undef localtime
#define localtime(...) localtime_is_banned_use_localtime_r
#undef alloca
#define alloca(...)    alloca_is_banned_use_an_arena
#undef rand
#define rand(...)      rand_is_banned_use_random_u64
