/* The model and the sensor's rows in flash, as the recipe left them. */
    .section .note.GNU-stack, "", %progbits
    .section .rodata.model_bytes, "a"
    .global model_bytes, model_bytes_len, sensor_bytes, sensor_bytes_len
    .balign 64
model_bytes:
    .incbin "model.titans"
model_bytes_end:
    .balign 4
model_bytes_len:
    .word model_bytes_end - model_bytes
sensor_bytes:
    .incbin "device.bin"
sensor_bytes_end:
    .balign 4
sensor_bytes_len:
    .word sensor_bytes_end - sensor_bytes
