// SPDX-License-Identifier: Apache-2.0
// sentencepiece lies in a module of its own that is loaded when a tokenizer.model is opened, with
// names that nobody else sees: Debian's library and libc10 both define FLAGS_minloglevel, one as an
// object, one as an int. Linked side by side one writes over the other's, and the first error that
// c10 means to throw (out of memory, say) ends the process instead.
#include "io/recognise.h"
#include "text/backend.h"

#include <dlfcn.h>
#include <unistd.h>

namespace luthier {

namespace {

constexpr std::uintmax_t kMaxBytes = 64u << 20;
constexpr const char* kModule = "luthier-sentencepiece.so";

using Open = TokenizerBackend* (*)(const char* file, bool legacy, Problem* problem);

/// Beside the program, where an install has its libraries, and where a test's build has it.
std::vector<std::filesystem::path> places() {
    std::vector<std::filesystem::path> all;
    char self[4096];
    if (const ssize_t length = ::readlink("/proc/self/exe", self, sizeof self); length > 0) {
        const std::filesystem::path folder =
            std::filesystem::path(std::string(self, static_cast<std::size_t>(length)))
                .parent_path();
        all = {folder, folder / "../lib/luthier"};
    }
    all.emplace_back(LUTHIER_MODULES);
    return all;
}

Result<Open> load() {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    constexpr int kFlags = RTLD_NOW | RTLD_LOCAL;  // the sanitizers' runtimes refuse the other
#else
    constexpr int kFlags = RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND;
#endif
    std::string why = "it is not there";
    std::error_code code;
    for (const std::filesystem::path& place : places()) {
        if (!std::filesystem::exists(place / kModule, code)) continue;
        void* module = ::dlopen((place / kModule).c_str(), kFlags);
        if (module == nullptr) {
            why = ::dlerror();
            continue;
        }
        if (void* entry = ::dlsym(module, "luthierOpenSentencePiece"))
            return reinterpret_cast<Open>(entry);
        why = "it belongs to another version";
    }
    std::string message = kModule;
    message.append(", which reads tokenizer.model files, cannot be used: ").append(why).append(".");
    return Problem{"module_missing", std::move(message),
                   "Build or install Luthier again; the file lies beside luthier-cli.", kModule,
                   ExitCode::Internal};
}

}  // namespace

Result<std::unique_ptr<TokenizerBackend>> openSentencePiece(const std::filesystem::path& file,
                                                            bool legacy) {
    if (std::optional<Problem> foreign = looksLike(file, "a tokenizer")) return *std::move(foreign);
    std::error_code error;
    if (std::filesystem::file_size(file, error) > kMaxBytes && !error) {
        return Problem{
            .code = "file_too_large",
            .message = file.string() + " is larger than 64 MiB, more than a tokenizer needs.",
            .hint = "Check that this is a tokenizer file.",
            .field = ""};
    }
    static const Result<Open> open = load();
    if (!open) return open.problems();
    Problem problem;
    if (TokenizerBackend* backend = (*open)(file.c_str(), legacy, &problem))
        return std::unique_ptr<TokenizerBackend>(backend);
    return problem;
}

}  // namespace luthier
