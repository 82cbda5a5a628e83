// SPDX-License-Identifier: Apache-2.0
#include "io/event_log.h"

#include "contract/system_error.h"
#include "io/file.h"

#include <cerrno>
#include <chrono>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

namespace luthier {

namespace {

constexpr std::size_t kMaxPendingBytes = 4u << 20;

double now() {
    return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch())
        .count();
}

Problem notWritten(const char* what) {
    if (isDiskFull(errno))
        return {"disk_full", "The disk is full: the event log could not be written.",
                "Free some space and resume the run.", "events.jsonl", ExitCode::RunFailed};
    return {"log_not_written",
            std::string("The event log could not be ") + what + ": " + systemText(errno) + ".",
            remedyFor(errno, "Check the disk and the folder's permissions."), "events.jsonl",
            ExitCode::RunFailed};
}

}  // namespace

Result<std::unique_ptr<EventLog>> EventLog::open(const std::filesystem::path& file,
                                                 const std::string& run, int pipe) {
    const int descriptor = ::open(file.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (descriptor < 0)
        return Problem{"folder_not_writable",
                       file.string() + " could not be opened: " + systemText(errno) + ".",
                       remedyFor(errno, "Check the workspace's permissions."), file.string(),
                       ExitCode::RunFailed};
    struct stat facts{};
    char last = '\n';
    if (::fstat(descriptor, &facts) == 0 && facts.st_size > 0 &&
        ::pread(descriptor, &last, 1, facts.st_size - 1) == 1 && last != '\n')
        if (::write(descriptor, "\n", 1) != 1) {
            const Problem problem = notWritten("continued");
            ::close(descriptor);
            return problem;
        }
    return std::unique_ptr<EventLog>(new EventLog(descriptor, pipe, run));
}

EventLog::~EventLog() {
    // A last, short chance for a reader that is only slow.
    for (int attempt = 0; attempt < 20 && !m_pending.empty() && m_pipe >= 0; ++attempt) {
        pollfd waiting{m_pipe, POLLOUT, 0};
        ::poll(&waiting, 1, 50);
        offer("");
    }
    ::close(m_file);
    if (m_text >= 0) ::close(m_text);
}

void EventLog::alsoAsText(const std::filesystem::path& file) {
    m_text = ::open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

Result<void> EventLog::write(const Json& event) {
    const std::lock_guard lock(m_mutex);
    const double time = now();
    const std::string line = eventLine(event, m_run, time) + "\n";
    m_waiting += line;
    if (const std::string text = m_text >= 0 ? logLine(event, time) : ""; !text.empty())
        [[maybe_unused]]
        const ssize_t written = ::write(m_text, (text + "\n").c_str(), text.size() + 1);
    if (Result<void> written = writeWaiting(); !written) return written;
    if (m_pipe >= 0) offer(line);
    if (m_observer) m_observer(event);
    return {};
}

Result<void> EventLog::writeWaiting() {
    while (!m_waiting.empty()) {
        const ssize_t count = ::write(m_file, m_waiting.data(), m_waiting.size());
        if (count < 0 && errno == EINTR) continue;
        if (count < 0 && isDiskFull(errno)) return {};
        if (count <= 0) return notWritten("written");
        m_waiting.erase(0, static_cast<std::size_t>(count));
    }
    return {};
}

std::size_t EventLog::waitingBytes() {
    const std::lock_guard lock(m_mutex);
    return m_waiting.size();
}

bool EventLog::catchUp() {
    const std::lock_guard lock(m_mutex);
    return writeWaiting() && m_waiting.empty();
}

Result<void> EventLog::sync() {
    const std::lock_guard lock(m_mutex);
    if (Result<void> written = writeWaiting(); !written) return written;
    errno = ENOSPC;
    if (!m_waiting.empty() || ::fdatasync(m_file) != 0) return notWritten("made durable");
    return {};
}

void EventLog::offer(const std::string& line) {
    if (m_pending.size() + line.size() > kMaxPendingBytes) {
        // Keep the rest of a line that is already half out, drop the others.
        m_pending.resize(m_pending.find('\n') + 1);
    }
    m_pending += line;
    while (!m_pending.empty()) {
        pollfd ready{m_pipe, POLLOUT, 0};
        if (::poll(&ready, 1, 0) <= 0) return;
        if ((ready.revents & (POLLERR | POLLHUP | POLLNVAL)) != 0) {
            m_pipe = -1;  // the reader is gone; the log goes on
            m_pending.clear();
            return;
        }
        // A pipe that is ready takes PIPE_BUF bytes without blocking.
        const ssize_t count =
            ::write(m_pipe, m_pending.data(), std::min<std::size_t>(m_pending.size(), 4096));
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) {
            if (errno != EAGAIN) m_pipe = -1;
            return;
        }
        m_pending.erase(0, static_cast<std::size_t>(count));
    }
}

}  // namespace luthier
