/* A bare machine: start-up, text and exit code by semihosting, the count of instructions, the depth of the stack. */
#ifndef BOARD_H
#define BOARD_H

#include <stdint.h>

/* Text and numbers to whoever runs the machine. */
void say(const char *text);
void say_number(uint32_t n);
void say_hex(uint32_t n);

/* Ends the run with this exit code. */
_Noreturn void leave(int code);

/* Instructions since the last call of count_begin, in QEMU with -icount shift=6 (up to 10 million). */
void count_begin(void);
uint32_t count_end(void);

/* Fills the free stack with a pattern; bytes of it that were used since, below the caller's frame. */
void stack_paint(void);
uint32_t stack_used(void);

#endif
