/* The models that budget.c counts and measures with: of other widths, and one of token ids. */
    .section .note.GNU-stack, "", %progbits
    .section .rodata.widths, "a"
    .global narrow_bytes, narrow_bytes_len, broad_bytes, broad_bytes_len, symbols_bytes, symbols_bytes_len
    .balign 64
narrow_bytes:
    .incbin "width-8.titans"
narrow_bytes_end:
    .balign 64
broad_bytes:
    .incbin "width-32.titans"
broad_bytes_end:
    .balign 64
symbols_bytes:
    .incbin "symbols.titans"
symbols_bytes_end:
    .balign 4
narrow_bytes_len:
    .word narrow_bytes_end - narrow_bytes
broad_bytes_len:
    .word broad_bytes_end - broad_bytes
symbols_bytes_len:
    .word symbols_bytes_end - symbols_bytes
