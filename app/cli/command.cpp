// SPDX-License-Identifier: Apache-2.0
#include "command.h"

#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <unistd.h>

namespace luthier::cli {

void print(const Context& context, const std::string& text) {
    if (context.progress) context.progress->clear();
    std::size_t done = 0;
    while (done < text.size()) {
        const ssize_t count = ::write(context.stdoutDescriptor, text.data() + done, text.size() - done);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0 && errno == EPIPE) return;  // the reader has seen enough
        if (count <= 0)
            throw Failure({"output_not_written", std::string("Standard output could not be written: ") + std::strerror(errno) + ".", "Free some space, or write elsewhere.", "", ExitCode::RunFailed});
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

WeightedPath weightedPath(const std::string& text) {
    if (const std::size_t equals = text.find('='); equals != std::string::npos && equals > 0 && text.find('/') > equals) {
        WeightedPath named = weightedPath(text.substr(equals + 1));
        named.name = text.substr(0, equals);
        return named;
    }
    const std::size_t colon = text.rfind(':');
    if (colon == std::string::npos || colon + 1 == text.size()) return {text, 1, {}};
    const std::string tail = text.substr(colon + 1);
    char* end = nullptr;
    const double weight = std::strtod(tail.c_str(), &end);
    if (end == nullptr || *end != '\0' || !std::isfinite(weight)) return {text, 1, {}};
    return {text.substr(0, colon), weight, {}};
}

}  // namespace luthier::cli
