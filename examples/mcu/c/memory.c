/* The least that uses a memory: one association is learned and asked for. Its size is that of the memory tier in
 * flash. */
#include "board.h"
#include "titans.h"

static _Alignas(64) unsigned char block[8832];

int main(void)
{
    titans_memory_config config;
    titans_memory *memory;
    float key[16] = {1}, value[16] = {0.25f, -0.5f}, answer[16], surprise;
    if (titans_memory_config_init(&config, sizeof config, TITANS_ABI_VERSION, NULL))
        return 1;
    config.widths[0] = config.widths[1] = 16;
    config.compute_chunk = 1;
    if (titans_memory_init(block, sizeof block, &config, NULL, 0, &memory, NULL))
        return 2;
    if (titans_memory_step(memory, key, 16, value, 16, key, 16, 0, 1, 0, answer, 16, &surprise, NULL))
        return 3;
    return answer[0] == 0.25f && answer[1] == -0.5f ? 0 : 4;
}
