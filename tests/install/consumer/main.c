/* A program of somebody else's: links libtitans however it was found, and uses it. */
#include <stdio.h>
#include <string.h>
#include <titans.h>

static union {
    unsigned char bytes[8832];
    struct {
        _Alignas(64) char line[64];
    } aligned;
} block;

int main(void)
{
    titans_memory_config config;
    titans_memory *memory;
    float key[4] = {1}, value[4] = {0.5f, -0.25f}, answer[4];
    if (titans_abi_version() != TITANS_ABI_VERSION)
        return 1;
    if (titans_memory_config_init(&config, sizeof config, TITANS_ABI_VERSION, NULL))
        return 2;
    config.widths[0] = config.widths[1] = 4;
    config.compute_chunk = 1;
    if (titans_memory_init(block.bytes, sizeof block, &config, NULL, 0, &memory, NULL))
        return 3;
    if (titans_memory_step(memory, key, 4, value, 4, key, 4, 0, 1, 0, answer, 4, NULL, NULL))
        return 4;
    if (memcmp(answer, value, sizeof answer) != 0)
        return 5;
    printf("libtitans %s\n", titans_version_string());
    return 0;
}
