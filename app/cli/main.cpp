// SPDX-License-Identifier: Apache-2.0
// luthier-cli: the engine without Qt. Standard output is kept for results:
// descriptor 1 is duplicated and then pointed at descriptor 2, so that a library that prints cannot
// corrupt a document or an event stream. Every failure ends as one {"type":"failed"} object on
// standard error; no exception text or trace of C++ reaches a user.
#include "command.h"
#include "explain.h"
#include "last_words.h"

#include "contract/events.h"
#include "kernels/block_pool.h"
#include "text/utf8.h"

#include <c10/core/Allocator.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <malloc.h>
#include <new>
#include <optional>
#include <string_view>
#include <unistd.h>

namespace {

using namespace luthier;

/// OpenMP's threads spin at each barrier while they wait for the others: by libgomp's default up to
/// 15 ms, in which they hold a core that the awaited thread may need. Beside other busy processes a
/// step took 8 times as long that way as with a wait of some 50 us, which is still longer than the
/// gap between two parallel regions. libgomp reads its settings as it is loaded and offers no call
/// for them, so the program starts once more with the setting, before the libraries' constructors
/// have cost anything.
void limitSpinning(char** arguments, char** environment) {
    std::size_t count = 0;
    for (; environment[count] != nullptr; ++count)
        for (const char* name : {"OMP_WAIT_POLICY=", "GOMP_SPINCOUNT="})
            if (std::strncmp(environment[count], name, std::strlen(name)) == 0) return;
    static char setting[] = "GOMP_SPINCOUNT=1000";
    auto** const extended = static_cast<char**>(std::malloc((count + 2) * sizeof(char*)));
    if (extended == nullptr) return;
    std::memcpy(extended, environment, count * sizeof(char*));
    extended[count] = setting;
    extended[count + 1] = nullptr;
    char path[4096];  // resolved here, or the process would be listed as "exe"
    const ssize_t length = ::readlink("/proc/self/exe", path, sizeof path - 1);
    if (length > 0) {
        path[length] = '\0';
        ::execve(path, arguments, extended);
    }
    std::free(extended);  // no /proc: go on with libgomp's default
}

// Sanitizers must be initialised before any code of ours runs.
#if defined(__ELF__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
/// What the constructors of a library throw has no frame to go to, and main() is not there yet to
/// have installLastWords().
void endBeforeMain() {
    static const char noMemory[] =
        "{\"type\":\"failed\",\"code\":\"out_of_memory\",\"message\":\"There is not enough memory "
        "to start.\",\"hint\":\"Close other programs, or raise the limit of address space (ulimit "
        "-v).\"}\n";
    static const char other[] =
        "{\"type\":\"failed\",\"code\":\"internal\",\"message\":\"A library could not be "
        "started.\",\"hint\":\"Build or install Luthier again.\"}\n";
    try {
        if (const std::exception_ptr error = std::current_exception())
            std::rethrow_exception(error);
    } catch (const std::bad_alloc&) {
        [[maybe_unused]] const ssize_t ignored = ::write(2, noMemory, sizeof noMemory - 1);
        ::_exit(static_cast<int>(ExitCode::OutOfMemory));
    } catch (...) {
    }
    [[maybe_unused]] const ssize_t ignored = ::write(2, other, sizeof other - 1);
    ::_exit(static_cast<int>(ExitCode::Internal));
}

void beforeLibraries(int, char** arguments, char** environment) {
    limitSpinning(arguments, environment);
    std::set_terminate(&endBeforeMain);
}

[[gnu::section(".preinit_array"), gnu::used]] void (*const firstOfAll)(int, char**,
                                                                       char**) = &beforeLibraries;
#endif

int fail(const Problems& problems) {
    std::fprintf(stderr, "%s\n", dumpLine(event::failed(problems)).c_str());
    return static_cast<int>(problems.front().exit);
}

int guarded(cli::Context& context) {
    const auto failed = [&context](const Problem& problem) {
        context.progress->clear();
        return fail({problem});
    };
    try {
        return static_cast<int>(context.run());
    } catch (...) {
        return failed(cli::explain(std::current_exception()));
    }
}

}  // namespace

namespace {

/// Before any work: paths go into JSON documents (runs, adapters, events), which hold text. A name
/// of other bytes would be written changed, and never be found again.
std::optional<Problem> foreignBytes(int argc, char** argv) {
    std::error_code code;
    const char* workspace = std::getenv("LUTHIER_WORKSPACE");
    std::vector<std::pair<std::string, std::string>> words{
        {"The current folder", std::filesystem::current_path(code).string()},
        {"LUTHIER_WORKSPACE", workspace ? workspace : ""}};
    for (int i = 1; i < argc; ++i) words.emplace_back("An argument", argv[i]);
    for (const auto& [what, text] : words)
        if (!isUtf8(text))
            return Problem{"not_utf8",
                           what + " has bytes that are no UTF-8 text: \"" + printable(text) + "\".",
                           "Rename the file or folder; convmv does it for whole trees.",
                           printable(text), ExitCode::BadUsage};
    return std::nullopt;
}

/// A failure before the command began. A caller that reads the events of `train --events -` waits
/// for their end there.
int failEarly(const cli::Context& context, const Problem& problem, int argc, char** argv) {
    const auto follows = [&](int i) {
        return std::string_view(argv[i]) == "--events=-" ||
               (i > 0 && std::string_view(argv[i - 1]) == "--events" &&
                std::string_view(argv[i]) == "-");
    };
    bool isStream = false, isTrain = false;
    for (int i = 1; i < argc; ++i) {
        isStream = isStream || follows(i);
        isTrain = isTrain || std::string_view(argv[i]) == "train";
    }
    if (isStream && isTrain)
        cli::printLine(context, eventLine(event::failed(problem), "",
                                          std::chrono::duration<double>(
                                              std::chrono::system_clock::now().time_since_epoch())
                                              .count()));
    return fail({problem});
}

int run(int argc, char** argv) {
    std::signal(SIGPIPE, SIG_IGN);
    std::signal(SIGXFSZ, SIG_IGN);  // a file beyond the limit is an error of its write
    cli::installLastWords();
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    kernels::useBlockPool();
#endif
    // Scratch memory of the products comes and goes with each: keep its pages too.
    ::mallopt(M_MMAP_THRESHOLD, 1 << 30);
    ::mallopt(M_TRIM_THRESHOLD, 1 << 30);
    cli::Context context;
    context.stdoutDescriptor = ::dup(1);
    ::dup2(2, 1);

    CLI::App app{"Luthier fits a language model to your own work: train, compare, export."};
    app.name("luthier-cli");
    app.set_version_flag("--version", "luthier-cli " LUTHIER_VERSION);
    app.require_subcommand(1);
    app.fallthrough();
    app.add_flag("--json", context.isJson, "Print one JSON document instead of a table");
    app.add_flag("--quiet", context.isQuiet, "No progress on standard error");
    for (const cli::Command& command : cli::listOfCommands()) command.add(app, context);
    try {
        app.parse(argc, argv);
    } catch (const CLI::CallForHelp&) {
        cli::print(context, app.help());
        return 0;
    } catch (const CLI::CallForVersion& version) {
        cli::printLine(context, version.what());
        return 0;
    } catch (const CLI::ParseError& error) {
        std::vector<std::string> commands;
        for (const CLI::App* command : app.get_subcommands({}))
            commands.push_back(command->get_name());
        const std::string word = argc > 1 ? argv[1] : "";
        const bool isCommand = std::find(commands.begin(), commands.end(), word) != commands.end();
        if (isCommand || word.empty() || word.front() == '-')
            return failEarly(
                context,
                {"bad_usage", error.what(),
                 "luthier-cli --help lists the commands, luthier-cli COMMAND --help its options.",
                 "", ExitCode::BadUsage},
                argc, argv);
        const std::string near = nearestName(word, commands);
        return fail({{"unknown_command", "\"" + printable(word) + "\" is not a command.",
                      near.empty() ? "luthier-cli --help lists the commands."
                                   : "Did you mean \"" + near + "\"?",
                      word, ExitCode::BadUsage}});
    }
    if (const std::optional<Problem> problem = foreignBytes(argc, argv))
        return failEarly(context, *problem, argc, argv);
    context.progress =
        std::make_shared<cli::Progress>(cli::progressStyle(context.isJson || context.isQuiet));
    const int code = guarded(context);
    context.progress.reset();
    return code;
}

}  // namespace

int main(int argc, char** argv) {
    const int code = run(argc, argv);
    cli::endsOrderly();
    return code;
}
