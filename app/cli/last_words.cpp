// SPDX-License-Identifier: Apache-2.0
#include "last_words.h"

#include "explain.h"

#include "contract/events.h"
#include "text/bridge_memory.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <unistd.h>

namespace luthier::cli {

namespace {

std::atomic<bool> isOrderly{false};
std::atomic<bool> hasSpoken{false};
std::function<void(const Problem&)> heard;  // set and cleared by one thread, called by the last
std::unique_ptr<char[]> reserve;            // given back so that the words themselves find memory
constexpr std::size_t kReserveBytes = 1u << 20;

/// `what` makes the problem, once there is memory for it: nothing may be thrown here, least of all
/// into the frames of Rust that may have called.
template <typename What>
[[noreturn]] void speak(const What& what) noexcept {
    int code = static_cast<int>(ExitCode::OutOfMemory);
    if (!hasSpoken.exchange(true)) {
        reserve.reset();
        try {
            const Problem problem = what();
            code = static_cast<int>(problem.exit);
            if (heard) heard(problem);
            std::fprintf(stderr, "%s\n", dumpLine(event::failed(problem)).c_str());
        } catch (...) {  // no memory even for this
            std::fputs(
                "{\"type\":\"failed\",\"code\":\"out_of_memory\",\"message\":\"There is not enough "
                "memory.\",\"hint\":\"Close other programs, or choose a smaller model.\"}\n",
                stderr);
        }
        std::fflush(stderr);
    }
    ::_exit(code);
}

Problem noMemory(const std::string& what) {
    return {"out_of_memory", "There is not enough memory for this: " + what + ".",
            "Lower train.batch_size or data.max_length, choose a smaller model, or close other "
            "programs.",
            "", ExitCode::OutOfMemory};
}

}  // namespace

void installLastWords() {
    reserve = std::make_unique<char[]>(kReserveBytes);
    std::fill_n(reserve.get(), kReserveBytes, 'x');  // its pages are taken now
    std::set_terminate([] {
        const std::exception_ptr error = std::current_exception();
        speak([&] {
            return error ? explain(error)
                         : Problem{"internal", "An internal step failed.",
                                   "This is a fault of Luthier; please report it.", "",
                                   ExitCode::Internal};
        });
    });
    std::atexit([] {
        if (!isOrderly)
            speak([] {
                return noMemory("a library ended the process; its own message stands above");
            });
    });
    setBridgeOutOfMemory([](std::size_t bytes) {
        speak([&] {
            return noMemory("reading a tokenizer or rows wanted " + std::to_string(bytes) +
                            " bytes");
        });
    });
}

void alsoTell(std::function<void(const Problem&)> listener) { heard = std::move(listener); }

void endsOrderly() { isOrderly = true; }

}  // namespace luthier::cli
