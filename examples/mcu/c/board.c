/* What all boards share: numbers in text, the depth of the stack. */
#include "board.h"

extern uint32_t bss_end[];

void say_number(uint32_t n)
{
    char text[11], *at = text + sizeof text - 1;
    *at = 0;
    do
        *--at = (char)('0' + n % 10);
    while ((n /= 10) != 0);
    say(at);
}

void say_hex(uint32_t n)
{
    char text[9];
    for (int i = 0; i < 8; i++)
        text[i] = "0123456789abcdef"[n >> (28 - 4 * i) & 15];
    text[8] = 0;
    say(text);
}

#define PATTERN 0xA5C3F00Du
#define RED_ZONE 16 /* words below the frame that paints */

static uint32_t *frame(void)
{
    return (uint32_t *)__builtin_frame_address(0);
}

__attribute__((noinline)) void stack_paint(void)
{
    for (volatile uint32_t *at = bss_end; at < frame() - RED_ZONE; at++)
        *at = PATTERN;
}

__attribute__((noinline)) uint32_t stack_used(void)
{
    const volatile uint32_t *at = bss_end;
    while (at < frame() && *at == PATTERN)
        at++;
    return (uint32_t)((const char *)frame() - (const char *)at);
}
