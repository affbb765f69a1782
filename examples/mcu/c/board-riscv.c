/* QEMU's RISC-V machine `virt`, without a C library: start-up, semihosting, and what a compiler may call. */
#include "board.h"

#include <stddef.h>

extern uint32_t data_start[], data_end[], data_load[], bss_start[], bss_end[];
int main(void);

static long semihost(long call, const void *argument)
{
    register long a0 __asm__("a0") = call;
    register const void *a1 __asm__("a1") = argument;
    /* These three, none of them compressed, are what a debugger or QEMU takes for a call. */
    __asm__ volatile(".option push\n .option norvc\n .balign 16\n slli x0, x0, 0x1f\n ebreak\n srai x0, x0, 7\n .option pop"
                     : "+r"(a0)
                     : "r"(a1)
                     : "memory");
    return a0;
}

void say(const char *text)
{
    semihost(4, text); /* SYS_WRITE0 */
}

_Noreturn void leave(int code)
{
    const uint32_t ends[2] = {0x20026, (uint32_t)code}; /* ADP_Stopped_ApplicationExit */
    semihost(0x20, ends);                               /* SYS_EXIT_EXTENDED */
    for (;;)
        ;
}

void *memcpy(void *restrict to, const void *restrict from, size_t n);
void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
    unsigned char *a = to;
    for (const unsigned char *b = from; n > 0; n--)
        *a++ = *b++;
    return to;
}

void *memset(void *to, int byte, size_t n);
void *memset(void *to, int byte, size_t n)
{
    for (unsigned char *a = to; n > 0; n--)
        *a++ = (unsigned char)byte;
    return to;
}

_Noreturn void reset(void);
__attribute__((naked, section(".vectors"), used)) _Noreturn void reset(void)
{
    __asm__ volatile("la sp, stack_top\n j start");
}

__attribute__((used)) _Noreturn void start(void);
__attribute__((used)) _Noreturn void start(void)
{
    for (uint32_t *to = data_start, *from = data_load; to < data_end;)
        *to++ = *from++;
    for (uint32_t *to = bss_start; to < bss_end;)
        *to++ = 0;
    leave(main());
}
