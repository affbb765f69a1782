/* A plugin that holds the library: what is looked up in it is this function, and nothing of the library. */
#include <titans.h>

uint32_t plugin_version(void);
uint32_t plugin_version(void)
{
    titans_memory_config config;
    int32_t status = titans_memory_config_init(&config, sizeof config, TITANS_ABI_VERSION, NULL);
    return status == TITANS_OK ? titans_abi_version() : 0;
}
