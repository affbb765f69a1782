// A column of numbers from a CSV file with a header: as much of CSV as these examples need.
#pragma once

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

// The column of that name, or the program's end with what is wrong.
inline std::vector<float> column(const std::string &path, const std::string &name) {
    std::ifstream file(path);
    std::string line, cell;
    auto fail = [&](const std::string &why) {
        std::fprintf(stderr, "%s: %s\n", path.c_str(), why.c_str());
        std::exit(2);
    };
    if (!std::getline(file, line)) fail("cannot be read, or is empty");
    size_t place = 0, found = std::string::npos;
    std::string names;
    for (std::istringstream header(line); std::getline(header, cell, ','); place++) {
        if (!cell.empty() && cell.back() == '\r') cell.pop_back();
        if (cell == name) found = place;
        names += " " + cell;
    }
    if (found == std::string::npos) fail("no column " + name + "; there are" + names);
    std::vector<float> values;
    while (std::getline(file, line)) {
        std::istringstream row(line);
        for (size_t i = 0; i <= found; i++) std::getline(row, cell, ',');
        char *end = nullptr;
        float value = std::strtof(cell.c_str(), &end);
        if (end == cell.c_str() || !std::isfinite(value)) fail("line " + std::to_string(values.size() + 2) + ": expected a number, found " + cell);
        values.push_back(value);
    }
    return values;
}
