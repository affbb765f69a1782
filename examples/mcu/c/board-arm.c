/* A Cortex-M: start-up, semihosting, the count of instructions, the depth of the stack. */
#include "board.h"

#include <stddef.h>

extern uint32_t data_start[], data_end[], data_load[], bss_start[], bss_end[], stack_top[];
int main(void);

#define CPACR (*(volatile uint32_t *)0xE000ED88u)
#define SYST_CSR (*(volatile uint32_t *)0xE000E010u)
#define SYST_RVR (*(volatile uint32_t *)0xE000E014u)
#define SYST_CVR (*(volatile uint32_t *)0xE000E018u)

static int semihost(int call, const void *argument)
{
    register int r0 __asm__("r0") = call;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
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

/* SysTick runs at 25 MHz and an instruction takes 64 ns of virtual time: 40 ticks are 25 instructions. */
void count_begin(void)
{
    SYST_RVR = 0xFFFFFF;
    SYST_CVR = 0;
    SYST_CSR = 5;
    while (SYST_CVR == 0)
        ;
}

uint32_t count_end(void)
{
    uint32_t ticks = 0xFFFFFF - SYST_CVR;
    return (uint32_t)((uint64_t)ticks * 40 / 64);
}

static _Noreturn void fault(void)
{
    say("fault\n");
    leave(9);
}

_Noreturn void reset(void);
__attribute__((naked)) _Noreturn void reset(void)
{
    __asm__ volatile("ldr r0, =stack_top\n mov sp, r0\n b start");
}

__attribute__((used)) _Noreturn void start(void);
__attribute__((used)) _Noreturn void start(void)
{
#if defined(__ARM_FP)
    CPACR |= 0xFu << 20; /* the floating-point unit */
    __asm__ volatile("dsb\n isb");
#endif
    for (uint32_t *to = data_start, *from = data_load; to < data_end;)
        *to++ = *from++;
    for (uint32_t *to = bss_start; to < bss_end;)
        *to++ = 0;
    leave(main());
}

__attribute__((section(".vectors"), used)) static const struct {
    uint32_t *stack;
    void (*handlers[15])(void);
} vectors = {stack_top, {reset, fault, fault, fault, fault, fault}};
