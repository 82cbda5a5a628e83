// SPDX-License-Identifier: Apache-2.0
#include "command.h"

#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <unistd.h>

namespace luthier::cli {

void print(const Context& context, const std::string& text) {
    if (context.progress) context.progress->clear();
    std::size_t done = 0;
    while (done < text.size()) {
        const ssize_t count =
            ::write(context.stdoutDescriptor, text.data() + done, text.size() - done);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0 && errno == EPIPE) return;  // the reader has seen enough
        if (count <= 0)
            throw Failure(
                {"output_not_written",
                 std::string("Standard output could not be written: ") + std::strerror(errno) + ".",
                 "Free some space, or write elsewhere.", "", ExitCode::RunFailed});
        done += static_cast<std::size_t>(count);
    }
}

void printLine(const Context& context, const std::string& text) { print(context, text + "\n"); }

void report(const Context& context, const Json& document, const std::string& table) {
    if (context.isJson)
        printLine(context, document.dump(2, ' ', false, Json::error_handler_t::replace));
    else
        print(context, table);
}

namespace {

bool exists(const std::string& path) {
    std::error_code code;
    return std::filesystem::exists(path, code);
}

/// The last colon parts path and weight where a number as people write it follows; a folder may
/// have colons of its own, even before a number.
WeightedPath partedByColon(const std::string& text) {
    const std::size_t colon = text.rfind(':');
    const std::string tail = colon == std::string::npos ? "" : text.substr(colon + 1),
                      path = text.substr(0, colon);
    if (tail.empty() || path.empty() ||
        tail.find_first_not_of("0123456789+-.eE") != std::string::npos)
        return {text, 1, {}};
    char* end = nullptr;
    const double weight = std::strtod(tail.c_str(), &end);
    if (end == tail.c_str() || *end != '\0' || !std::isfinite(weight)) return {text, 1, {}};
    if (!exists(path) && exists(text)) return {text, 1, {}};
    return {path, weight, {}};
}

}  // namespace

WeightedPath weightedPath(const std::string& text) {
    const WeightedPath whole = partedByColon(text);
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0 || text.find('/') < equals || exists(whole.path))
        return whole;
    WeightedPath named = partedByColon(text.substr(equals + 1));
    named.name = text.substr(0, equals);
    return named;
}

}  // namespace luthier::cli
