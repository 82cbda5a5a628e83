// SPDX-License-Identifier: Apache-2.0
#pragma once
// The worker's event log: every event is appended to events.jsonl first and then, when asked,
// offered to a pipe. The pipe is a doorbell: it never blocks training, and a reader that stalls or
// goes away loses lines, never the run (the log has them all). A reader that has lost lines gets
// none of half a line: what does not fit is kept back up to a limit, then dropped whole.

#include "contract/events.h"
#include "contract/json.h"
#include "contract/problem.h"

#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

namespace luthier {

/// Thread-safe.
class EventLog final {
public:
    /// Opens (or makes) the log; a line that a killed process left unfinished is closed first.
    /// `pipe` is a file descriptor that also receives the lines, or -1. Problem codes:
    /// folder_not_writable.
    static Result<std::unique_ptr<EventLog>> open(const std::filesystem::path& file,
                                                  const std::string& run, int pipe);
    ~EventLog();

    /// Appends one event. A full disk loses none: what cannot be written is kept in memory and goes
    /// first once there is room. Problem code: log_not_written.
    Result<void> write(const Json& event);
    /// Bytes that wait for room on the disk.
    std::size_t waitingBytes();
    /// Tries to write what waits; true when nothing does any more.
    bool catchUp();
    /// Writes the events for people as well (logLine), at the end of `file`. What cannot be written
    /// there is left out: the events have it.
    void alsoAsText(const std::filesystem::path& file);
    /// Sees each event that was written, on the thread that writes it.
    void observe(std::function<void(const Json&)> observer) { m_observer = std::move(observer); }
    /// Makes everything written so far durable.
    Result<void> sync();

private:
    EventLog(int file, int pipe, std::string run)
        : m_file(file), m_pipe(pipe), m_run(std::move(run)) {}
    void offer(const std::string& line);
    Result<void> writeWaiting();

    int m_file;
    int m_pipe;
    int m_text = -1;
    std::string m_run;
    std::mutex m_mutex;
    std::function<void(const Json&)> m_observer;
    std::string m_waiting;  // whole lines, but for a first one that is half in the file
    std::string m_pending;  // bytes the pipe has not taken, whole lines but for the first
};

}  // namespace luthier
