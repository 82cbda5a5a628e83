// SPDX-License-Identifier: Apache-2.0
#include "io/command_server.h"

#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <map>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <vector>

namespace luthier {

namespace {

constexpr std::size_t kMaxLineBytes = 1u << 20;

/// A folder of this user alone: sockets there cannot be reached by others.
std::string socketFolder() {
    const char* runtime = std::getenv("XDG_RUNTIME_DIR");
    std::string folder = runtime != nullptr && *runtime != '\0'
                             ? std::string(runtime) + "/luthier"
                             : "/tmp/luthier-" + std::to_string(::getuid());
    ::mkdir(folder.c_str(), 0700);
    struct stat facts{};
    if (::lstat(folder.c_str(), &facts) != 0 || !S_ISDIR(facts.st_mode) ||
        facts.st_uid != ::getuid() || (facts.st_mode & 077) != 0)
        return "";
    return folder;
}

/// Sockets of processes that were killed stay where they were: those of no process that lives, and
/// on which nobody listens (its number may be another's in a container that shares the folder), go.
void removeDeadSockets(const std::string& folder) {
    std::error_code code;
    for (std::filesystem::directory_iterator entry(folder, code), end; !code && entry != end;
         entry.increment(code)) {
        const std::filesystem::path& path = entry->path();
        const std::string number = path.stem().string();
        if (path.extension() != ".sock" || number.empty() || number.size() > 9 ||
            number.find_first_not_of("0123456789") != std::string::npos)
            continue;
        if (::kill(std::atoi(number.c_str()), 0) == 0 || errno != ESRCH) continue;
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        if (path.native().size() >= sizeof address.sun_path) continue;
        std::memcpy(address.sun_path, path.c_str(), path.native().size() + 1);
        const int descriptor = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (descriptor < 0) return;
        if (::connect(descriptor, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 &&
            errno == ECONNREFUSED)
            ::unlink(path.c_str());
        ::close(descriptor);
    }
}

int listenAt(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) return -1;
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    const int descriptor = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0) return -1;
    ::unlink(path.c_str());
    if (::bind(descriptor, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
        ::listen(descriptor, 8) == 0)
        return descriptor;
    ::close(descriptor);
    return -1;
}

/// Where the handler writes; -1 while nobody listens.
std::atomic<int> signalPipe{-1};

/// The second signal finds a process that does not stop in time, in a long phase say, and ends it.
void tellOfSignal(int number) {
    const int kept = errno;
    std::signal(number, SIG_DFL);
    const char byte = static_cast<char>(number);
    [[maybe_unused]] const ssize_t written = ::write(signalPipe.load(), &byte, 1);
    errno = kept;
}

/// nohup's and a background job's ignored signals stay ignored.
void listenForSignals(int descriptor) {
    signalPipe = descriptor;
    for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
        struct sigaction current{};
        if (::sigaction(number, nullptr, &current) != 0 || current.sa_handler == SIG_IGN) continue;
        struct sigaction chosen{};
        chosen.sa_handler = &tellOfSignal;
        chosen.sa_flags = SA_RESTART;
        ::sigaction(number, &chosen, nullptr);
    }
}

}  // namespace

void CommandQueue::push(Json command) {
    {
        const std::lock_guard lock(m_mutex);
        m_commands.push_back(std::move(command));
    }
    m_arrived.notify_one();
}

std::optional<Json> CommandQueue::take() {
    const std::lock_guard lock(m_mutex);
    if (m_commands.empty()) return std::nullopt;
    Json command = std::move(m_commands.front());
    m_commands.pop_front();
    return command;
}

std::optional<Json> CommandQueue::wait(int milliseconds) {
    {
        std::unique_lock lock(m_mutex);
        m_arrived.wait_for(lock, std::chrono::milliseconds(milliseconds),
                           [this] { return !m_commands.empty(); });
    }
    return take();
}

CommandServer::CommandServer(CommandQueue& queue, bool readsStdin, const std::string& runId)
    : m_queue(queue), m_readsStdin(readsStdin) {
    const std::string folder = runId.empty() ? "" : socketFolder();
    if (!folder.empty()) {
        removeDeadSockets(folder);
        m_socketPath = folder + "/" + std::to_string(::getpid()) + ".sock";
        m_listener = listenAt(m_socketPath);
        if (m_listener < 0) m_socketPath.clear();
    }
    if (!runId.empty() && ::pipe2(m_signals, O_CLOEXEC | O_NONBLOCK) == 0)
        listenForSignals(m_signals[1]);
    if (::pipe(m_wake) == 0) m_thread = std::thread([this] { serve(); });
}

CommandServer::~CommandServer() {
    if (m_signals[1] >= 0) {
        for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
            struct sigaction current{};
            if (::sigaction(number, nullptr, &current) == 0 && current.sa_handler == &tellOfSignal)
                std::signal(number, SIG_DFL);
        }
        signalPipe = -1;
    }
    if (m_thread.joinable()) {
        [[maybe_unused]] const ssize_t woken = ::write(m_wake[1], "x", 1);
        m_thread.join();
    }
    for (const int descriptor : {m_listener, m_signals[0], m_signals[1], m_wake[0], m_wake[1]})
        if (descriptor >= 0) ::close(descriptor);
    if (!m_socketPath.empty()) ::unlink(m_socketPath.c_str());
}

void CommandServer::takeLines(std::string& buffer) {
    std::size_t begin = 0;
    for (std::size_t end = buffer.find('\n'); end != std::string::npos;
         end = buffer.find('\n', begin)) {
        const std::string_view line = std::string_view(buffer).substr(begin, end - begin);
        begin = end + 1;
        if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
        // What is no command is passed on as well: whoever takes it says so.
        Result<Json> command = parseJson(line, "command");
        m_queue.push(command && command->is_object() ? std::move(*command)
                                                     : Json{{"line", line.substr(0, 80)}});
    }
    buffer.erase(0, begin);
    if (buffer.size() > kMaxLineBytes) {
        m_queue.push({{"line", buffer.substr(0, 80)}});
        buffer.clear();
    }
}

void CommandServer::serve() {
    std::map<int, std::string> readers;  // descriptor -> bytes of an unfinished line
    if (m_readsStdin) readers[0] = "";
    while (true) {
        std::vector<pollfd> waiting{{m_wake[0], POLLIN, 0}};
        if (m_listener >= 0) waiting.push_back({m_listener, POLLIN, 0});
        if (m_signals[0] >= 0) waiting.push_back({m_signals[0], POLLIN, 0});
        for (const auto& [descriptor, buffer] : readers) waiting.push_back({descriptor, POLLIN, 0});
        if (::poll(waiting.data(), waiting.size(), -1) < 0 && errno != EINTR) return;
        for (const pollfd& entry : waiting) {
            if (entry.revents == 0) continue;
            if (entry.fd == m_wake[0]) {
                for (const auto& [descriptor, buffer] : readers)
                    if (descriptor != 0) ::close(descriptor);
                return;
            }
            if (entry.fd == m_listener) {
                const int client = ::accept4(m_listener, nullptr, nullptr, SOCK_CLOEXEC);
                if (client >= 0) readers[client] = "";
                continue;
            }
            char bytes[4096];
            if (entry.fd == m_signals[0]) {
                if (::read(entry.fd, bytes, sizeof bytes) > 0) m_queue.push({{"command", "stop"}});
                continue;
            }
            const ssize_t count = ::read(entry.fd, bytes, sizeof bytes);
            if (count > 0) {
                readers[entry.fd].append(bytes, static_cast<std::size_t>(count));
                takeLines(readers[entry.fd]);
            } else if (count == 0 || errno != EINTR) {
                if (!readers[entry.fd].empty()) {  // a last line without its end
                    readers[entry.fd] += '\n';
                    takeLines(readers[entry.fd]);
                }
                if (entry.fd == 0)
                    m_queue.push({{"command", "input_closed"}});
                else
                    ::close(entry.fd);
                readers.erase(entry.fd);
            }
        }
    }
}

}  // namespace luthier
