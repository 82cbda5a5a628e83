// SPDX-License-Identifier: Apache-2.0
// Over a socket pair: request {u32 size, JSON}, answer {i32 status of luthier_text.h, u32 size,
// bytes}, native byte order.
#include "text/chat_template.h"
#include "text/bridge/luthier_text.h"

#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <fcntl.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <fstream>

namespace luthier {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t kMaxSourceBytes = 256u << 10;
constexpr std::size_t kMaxContextBytes = 64u << 20;
constexpr std::size_t kMaxAnswerBytes = 8u << 20;
constexpr rlim_t kMemoryBytes = 512u << 20;
constexpr auto kPatience = std::chrono::seconds(2);
constexpr int kMostLost = 3;

struct AnswerHead {
    std::int32_t status;
    std::uint32_t size;
};

bool sendAll(int socket, const void* data, std::size_t size) {
    const char* bytes = static_cast<const char*>(data);
    while (size > 0) {
        const ssize_t sent = ::send(socket, bytes, size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent <= 0) return false;
        bytes += sent;
        size -= static_cast<std::size_t>(sent);
    }
    return true;
}

bool receiveAll(int socket, void* data, std::size_t size, const Clock::time_point* deadline) {
    char* bytes = static_cast<char*>(data);
    while (size > 0) {
        if (deadline != nullptr) {
            const auto left =
                std::chrono::duration_cast<std::chrono::milliseconds>(*deadline - Clock::now())
                    .count();
            pollfd waiting{socket, POLLIN, 0};
            const int ready = left > 0 ? ::poll(&waiting, 1, static_cast<int>(left)) : 0;
            if (ready < 0 && errno == EINTR) continue;
            if (ready <= 0) return false;
        }
        const ssize_t got = ::recv(socket, bytes, size, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return false;
        bytes += got;
        size -= static_cast<std::size_t>(got);
    }
    return true;
}

bool sendAnswer(int socket, LuthierBuffer buffer) {
    const AnswerHead head{buffer.status, static_cast<std::uint32_t>(buffer.size)};
    const bool sent =
        sendAll(socket, &head, sizeof head) && sendAll(socket, buffer.data, buffer.size);
    luthier_buffer_free(buffer);
    return sent;
}

/// Address space in use, so that the limit leaves kMemoryBytes on top of mapped weights and
/// libraries.
rlim_t addressSpace() {
    std::ifstream file("/proc/self/statm");
    rlim_t pages = 0;
    file >> pages;
    return pages * static_cast<rlim_t>(::sysconf(_SC_PAGESIZE));
}

void leaveOnlyThisOpen(int socket) {
    const int null = ::open("/dev/null", O_RDWR);
    for (int standard = 0; standard < 3; ++standard) ::dup2(null, standard);
    ::dup2(socket, 3);
    ::close_range(4, ~0u, 0);  // locks and sockets of the parent must not live on here
}

/// The child: compiles once, renders until the parent closes its end. Never returns.
[[noreturn]] void serve(int socket, const std::string& source, TemplateUse use, rlim_t memory) {
    ::signal(SIGINT, SIG_IGN);
    ::signal(SIGTERM, SIG_DFL);
    leaveOnlyThisOpen(socket);
    socket = 3;
    const rlimit space{memory, memory};
    const rlimit none{0, 0};
    ::setrlimit(RLIMIT_AS, &space);
    ::setrlimit(RLIMIT_CORE, &none);

    LuthierTemplate* compiled = nullptr;
    const LuthierBuffer opened =
        luthier_template_open(reinterpret_cast<const std::uint8_t*>(source.data()), source.size(),
                              use == TemplateUse::Rows ? 1 : 0, &compiled);
    if (!sendAnswer(socket, opened) || compiled == nullptr) ::_exit(0);
    for (std::uint32_t size = 0; receiveAll(socket, &size, sizeof size, nullptr);) {
        std::string context(size, '\0');
        if (!receiveAll(socket, context.data(), size, nullptr)) break;
        const auto* bytes = reinterpret_cast<const std::uint8_t*>(context.data());
        if (!sendAnswer(socket, luthier_template_render(compiled, bytes, size))) break;
    }
    ::_exit(0);
}

}  // namespace

ChatTemplate::ChatTemplate(std::string source, TemplateUse use)
    : m_source(std::move(source)), m_use(use) {}

ChatTemplate::~ChatTemplate() { stop(); }

Problem ChatTemplate::problemOf(int status, const std::string& words) const {
    const bool isChat = m_use == TemplateUse::Chat;
    const std::string what =
        isChat ? "The model's chat template" : "The template in data.template_text";
    switch (status) {
        case LUTHIER_TEXT_RAISED:
            return {.code = "template_raised",
                    .message = words,
                    .hint = isChat ? "The model's chat template refuses this conversation."
                                   : "The template refuses this row.",
                    .field = ""};
        case LUTHIER_TEXT_SYNTAX:
            return {
                .code = "template_invalid",
                .message = what + " does not parse: " + words + ".",
                .hint =
                    isChat
                        ? "Correct chat_template.jinja or chat_template in tokenizer_config.json."
                        : "Correct it; it is written in Jinja.",
                .field = ""};
        case LUTHIER_TEXT_LIMIT:
            return {.code = "template_limit",
                    .message = what + " was stopped: " + words + ".",
                    .hint = isChat ? "Shorten the conversation, or use another template."
                                   : "Shorten its loops.",
                    .field = ""};
        default:
            return {.code = "template_failed",
                    .message = what + " failed: " + words + ".",
                    .hint = isChat ? "Compare the conversation's keys with what the template reads."
                                   : "Compare the row's keys with what the template reads.",
                    .field = ""};
    }
}

bool ChatTemplate::start() {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return false;
    const rlim_t memory = addressSpace() + kMemoryBytes;
    m_process = ::fork();
    if (m_process == 0) serve(ends[1], m_source, m_use, memory);
    ::close(ends[1]);
    m_socket = ends[0];
    if (m_process < 0) stop();
    return m_process > 0;
}

void ChatTemplate::stop() {
    if (m_socket >= 0) ::close(m_socket);
    if (m_process > 0) {
        ::kill(m_process, SIGKILL);
        ::waitpid(m_process, nullptr, 0);
    }
    m_socket = m_process = -1;
}

Result<std::string> ChatTemplate::giveUp(Problem problem) {
    stop();
    m_end = std::make_unique<Problem>(problem);
    return problem;
}

Result<std::string> ChatTemplate::render(std::string_view context) {
    const std::lock_guard turn(m_mutex);
    if (m_end) return *m_end;
    if (m_source.size() > kMaxSourceBytes)
        return giveUp(problemOf(LUTHIER_TEXT_LIMIT, "it is longer than 256 KiB"));
    if (context.size() > kMaxContextBytes)
        return problemOf(LUTHIER_TEXT_LIMIT, "the conversation is longer than 64 MiB");

    const Clock::time_point deadline = Clock::now() + kPatience;
    const auto receive = [&](AnswerHead& head, std::string& bytes) {
        if (!receiveAll(m_socket, &head, sizeof head, &deadline) || head.size > kMaxAnswerBytes)
            return false;
        bytes.resize(head.size);
        return receiveAll(m_socket, bytes.data(), head.size, &deadline);
    };
    // One conversation may be too much for it; a template that is late again and again would cost
    // two seconds a row.
    const auto lost = [&]() -> Result<std::string> {
        const bool isLate = Clock::now() >= deadline;
        stop();
        const Problem problem =
            problemOf(LUTHIER_TEXT_LIMIT, isLate ? "it took longer than two seconds"
                                                 : "it asked for more than 512 MiB of memory");
        if (++m_lost < kMostLost) return problem;
        m_end = std::make_unique<Problem>(problem);
        m_end->code = "template_stopped";
        return problem;
    };

    AnswerHead head{};
    std::string bytes;
    if (m_socket < 0) {
        if (!start())
            return Problem{.code = "template_process",
                           .message = "No process could be started for the chat template.",
                           .hint = "Close other programs and try again.",
                           .field = ""};
        if (!receive(head, bytes)) return lost();
        if (head.status != LUTHIER_TEXT_OK) return giveUp(problemOf(head.status, bytes));
    }
    const auto size = static_cast<std::uint32_t>(context.size());
    if (!sendAll(m_socket, &size, sizeof size) || !sendAll(m_socket, context.data(), size))
        return lost();
    if (!receive(head, bytes)) return lost();
    if (head.status != LUTHIER_TEXT_OK) return problemOf(head.status, bytes);
    return bytes;
}

}  // namespace luthier
