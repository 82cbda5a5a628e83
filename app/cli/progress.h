// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a person sees of work that takes more than a second, on standard error: on a terminal one
// bar that stays in place, else a line every ten seconds. Lines that are to stay are told through
// it too, so that they stand above the bar. A thread of its own draws, so that work which tells
// nothing for a while is seen to be alive.

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

namespace luthier::cli {

enum class ProgressStyle { Silent, Terminal, Lines };

/// Silent when asked for; else what standard error is.
ProgressStyle progressStyle(bool isSilent);

/// One piece of work under way.
struct Work {
    std::string name;  ///< "tokenising"
    std::int64_t done = 0;
    std::int64_t total = 0;  ///< 0: not known
    std::string detail =
        {};  ///< "loss 1.234 ↓  3,120 tokens/s"; on a narrow terminal it is the first to go
    double secondsLeft = -1;  ///< below 0: told from the pace since the work began
};

/// Any thread may call it.
class Progress final {
public:
    explicit Progress(ProgressStyle style);
    ~Progress();
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;

    /// The work that is under way from now on; another name begins another bar.
    void show(Work work);
    void phase(const std::string& name, std::int64_t done, std::int64_t total) {
        show({name, done, total});
    }
    /// A line that stays. Control characters of `text` are shown escaped.
    void say(const std::string& text);
    /// Takes the bar away: something else is about to be written, or the work is done. The next
    /// show() brings it back.
    void clear();
    bool isSilent() const { return m_style == ProgressStyle::Silent; }

    /// Calls as engine and exporters want them.
    std::function<void(const std::string&, std::int64_t, std::int64_t)> callback();

private:
    using Clock = std::chrono::steady_clock;

    void drawLoop();
    void draw(Clock::time_point now);  // with the mutex held
    void erase();
    double secondsLeft(Clock::time_point now) const;
    std::string barLine(Clock::time_point now, std::size_t width) const;
    std::string plainLine(Clock::time_point now) const;

    const ProgressStyle m_style;
    std::mutex m_mutex;
    std::condition_variable m_wake;
    std::thread m_thread;
    bool m_isEnding = false;
    bool m_isBarShown = false;
    Work m_work;
    std::int64_t m_firstDone = 0;  // when the work began
    Clock::time_point m_began;     // of the work
    Clock::time_point m_told;      // last line, or last drawing
};

/// "1:05", "2:03:04"
std::string durationText(double seconds);

}  // namespace luthier::cli
