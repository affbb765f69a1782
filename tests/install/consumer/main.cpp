// The same by the header for C++.
#include <cstdio>
#include <titans.hpp>

int main()
{
    titans::Config config;
    config->widths[0] = config->widths[1] = 4;
    auto memory = titans::Memory::create(config);
    if (!memory)
        return 1;
    float key[4] = {1, 0, 0, 0}, value[4] = {0.5f, -0.25f, 0, 0}, answer[4];
    if (!memory->step(key, value, {0.0f, 1.0f, 0.0f}, key, answer))
        return 2;
    std::printf("libtitans %s\n", titans_version_string());
    return answer[0] == value[0] && answer[1] == value[1] ? 0 : 3;
}
