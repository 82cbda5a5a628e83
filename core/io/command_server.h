// SPDX-License-Identifier: Apache-2.0
#pragma once
// Where a worker's commands come from: lines of JSON on its standard input and on a Unix socket
// (worker.json names it), and the signals that ask a process to end (Ctrl+C, a cluster's SIGTERM, a
// closed terminal), which mean "stop". The trainer takes them between steps; reading never blocks
// it.

#include "contract/json.h"
#include "contract/problem.h"

#include <atomic>
#include <condition_variable>
#include <deque>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

namespace luthier {

/// Thread-safe queue of commands.
class CommandQueue {
public:
    void push(Json command);
    std::optional<Json> take();
    /// Waits up to `milliseconds` for a command.
    std::optional<Json> wait(int milliseconds);

private:
    std::mutex m_mutex;
    std::condition_variable m_arrived;
    std::deque<Json> m_commands;
};

/// Reads commands on a thread of its own until destroyed.
class CommandServer final {
public:
    /// `readsStdin`: take lines from descriptor 0, and push {"command":"input_closed"} when it
    /// ends. The socket's path is short enough for the kernel whatever the run folder's is; it is
    /// empty when no socket could be made. With a `runId`, the first SIGINT, SIGTERM or SIGHUP that
    /// the process does not ignore pushes {"command":"stop"} and the second of a kind ends the
    /// process; at most one such server at a time.
    CommandServer(CommandQueue& queue, bool readsStdin, const std::string& runId);
    ~CommandServer();
    const std::string& socketPath() const { return m_socketPath; }

private:
    void serve();
    void takeLines(std::string& buffer);

    CommandQueue& m_queue;
    bool m_readsStdin;
    std::string m_socketPath;
    int m_listener = -1;
    int m_signals[2] = {-1, -1};
    int m_wake[2] = {-1, -1};
    std::thread m_thread;
};

}  // namespace luthier
