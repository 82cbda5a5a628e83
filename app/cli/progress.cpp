// SPDX-License-Identifier: Apache-2.0
#include "progress.h"

#include "contract/number_text.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <sys/ioctl.h>
#include <unistd.h>

namespace luthier::cli {

namespace {

constexpr auto kFirstDrawing = std::chrono::milliseconds(400);  // what is over sooner shows nothing
constexpr auto kRedraw = std::chrono::milliseconds(100);
constexpr auto kLineEvery = std::chrono::seconds(10);
constexpr std::size_t kBarCells = 24;

bool isUtf8Terminal() {
    for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"})
        if (const char* value = std::getenv(name); value != nullptr && *value != '\0') {
            std::string text = value;
            std::transform(text.begin(), text.end(), text.begin(),
                           [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
            return text.find("utf-8") != std::string::npos ||
                   text.find("utf8") != std::string::npos;
        }
    return false;
}

bool hasColour() {
    const char* off = std::getenv("NO_COLOR");
    return off == nullptr || *off == '\0';
}

std::size_t terminalWidth() {
    winsize size{};
    return ::ioctl(2, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

/// Cells of a text without control characters: one a code point.
std::size_t cellsOf(std::string_view text) {
    return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
        return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
    }));
}

/// Broken at spaces to fit `width` cells, what follows indented.
std::string wrapped(const std::string& text, std::size_t width) {
    std::string lines, line;
    std::size_t cells = 0;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = std::min(text.find(' ', at), text.size());
        const std::string word = text.substr(at, end - at);
        if (cells > 2 && cells + 1 + cellsOf(word) >= width) {
            lines += line + "\n";
            line = "  ";
            cells = 2;
        } else if (at > 0) {
            line += ' ';
            ++cells;
        }
        line += word;
        cells += cellsOf(word);
        at = end + 1;
    }
    return lines + line;
}

void writeAll(const std::string& text) {
    std::fwrite(text.data(), 1, text.size(), stderr);
    std::fflush(stderr);
}

}  // namespace

std::string durationText(double seconds) {
    const auto whole = static_cast<std::int64_t>(std::llround(std::max(0.0, seconds)));
    std::array<char, 48> text{};
    if (whole >= 3600)
        std::snprintf(text.data(), text.size(), "%lld:%02lld:%02lld",
                      static_cast<long long>(whole / 3600), static_cast<long long>(whole / 60 % 60),
                      static_cast<long long>(whole % 60));
    else
        std::snprintf(text.data(), text.size(), "%lld:%02lld", static_cast<long long>(whole / 60),
                      static_cast<long long>(whole % 60));
    return text.data();
}

ProgressStyle progressStyle(bool isSilent) {
    if (isSilent) return ProgressStyle::Silent;
    const char* terminal = std::getenv("TERM");
    const bool canMove =
        terminal != nullptr && *terminal != '\0' && std::string_view(terminal) != "dumb";
    return ::isatty(2) == 1 && canMove ? ProgressStyle::Terminal : ProgressStyle::Lines;
}

Progress::Progress(ProgressStyle style) : m_style(style), m_began(Clock::now()), m_told(m_began) {}

Progress::~Progress() {
    clear();
    {
        const std::lock_guard lock(m_mutex);
        m_isEnding = true;
    }
    m_wake.notify_all();
    if (m_thread.joinable()) m_thread.join();
}

std::function<void(const std::string&, std::int64_t, std::int64_t)> Progress::callback() {
    return [this](const std::string& name, std::int64_t done, std::int64_t total) {
        phase(name, done, total);
    };
}

void Progress::show(Work work) {
    if (m_style == ProgressStyle::Silent) return;
    const std::lock_guard lock(m_mutex);
    const Clock::time_point now = Clock::now();
    if (work.name != m_work.name || work.done < m_work.done) {
        m_began = now;
        m_firstDone = work.done;
    }
    m_work = std::move(work);
    if (!m_thread.joinable()) m_thread = std::thread([this] { drawLoop(); });
}

void Progress::say(const std::string& text) {
    if (m_style == ProgressStyle::Silent) return;
    const std::lock_guard lock(m_mutex);
    const bool wasShown = m_isBarShown;
    erase();
    writeAll((m_style == ProgressStyle::Terminal ? wrapped(printable(text), terminalWidth())
                                                 : printable(text)) +
             "\n");
    m_told = Clock::now();  // in a file this line has told how far it is
    if (wasShown) draw(Clock::now());
}

void Progress::clear() {
    if (m_style == ProgressStyle::Silent) return;
    const std::lock_guard lock(m_mutex);
    erase();
    m_work = {};
}

void Progress::erase() {
    if (!m_isBarShown) return;
    writeAll("\r\033[K");
    m_isBarShown = false;
}

void Progress::drawLoop() {
    std::unique_lock lock(m_mutex);
    while (!m_isEnding) {
        m_wake.wait_for(lock, kRedraw, [this] { return m_isEnding; });
        const Clock::time_point now = Clock::now();
        if (m_isEnding || m_work.name.empty()) continue;
        if (m_style == ProgressStyle::Terminal ? !m_isBarShown && now - m_began < kFirstDrawing
                                               : now - m_told < kLineEvery)
            continue;
        draw(now);
    }
}

void Progress::draw(Clock::time_point now) {
    m_told = now;
    if (m_style == ProgressStyle::Lines) return writeAll(plainLine(now) + "\n");
    writeAll("\r" + barLine(now, terminalWidth()) + "\033[K");
    m_isBarShown = true;
}

double Progress::secondsLeft(Clock::time_point now) const {
    if (m_work.secondsLeft >= 0) return m_work.secondsLeft;
    const double elapsed = std::chrono::duration<double>(now - m_began).count();
    const std::int64_t made = m_work.done - m_firstDone;
    if (m_work.total <= 0 || made <= 0 || elapsed < 1) return -1;
    return elapsed * static_cast<double>(m_work.total - m_work.done) / static_cast<double>(made);
}

/// The parts that fit, the name first: bar, count, detail, time left.
std::string Progress::barLine(Clock::time_point now, std::size_t width) const {
    static const bool isUtf8 = isUtf8Terminal();
    static const bool isColoured = hasColour();
    const double elapsed = std::chrono::duration<double>(now - m_began).count();
    const double left = secondsLeft(now);
    const bool isCounted = m_work.total > 1;
    const std::string time = left >= 0 ? durationText(left) + " left" : durationText(elapsed);
    std::string count =
        isCounted ? withThousands(m_work.done) + "/" + withThousands(m_work.total) : std::string();
    std::string detail = m_work.detail;
    std::string name = m_work.name;
    const auto needed = [&](std::size_t cells) {
        std::size_t sum = cellsOf(name) + cellsOf(time) + 2;
        if (cells > 0) sum += cells + 2;
        if (!count.empty()) sum += cellsOf(count) + 2;
        if (!detail.empty()) sum += cellsOf(detail) + 2;
        return sum;
    };
    const std::size_t room = width > 1 ? width - 1 : 1;  // the last column would wrap
    std::size_t cells = isCounted ? kBarCells : 0;
    while (cells > 8 && needed(cells) > room) --cells;
    while (!detail.empty() && needed(cells) > room) {  // its parts stand two spaces apart
        const std::size_t gap = detail.rfind("  ");
        detail = gap == std::string::npos ? "" : detail.substr(0, gap);
    }
    if (needed(cells) > room) cells = 0;
    if (needed(cells) > room) count.clear();
    if (needed(cells) > room) return name.substr(0, room);
    std::string line = name + "  ";
    if (cells > 0) {
        const double share = std::clamp(
            static_cast<double>(m_work.done) / static_cast<double>(m_work.total), 0.0, 1.0);
        const auto full = static_cast<std::size_t>(std::floor(share * static_cast<double>(cells)));
        std::string before, behind;
        for (std::size_t i = 0; i < full; ++i) before += isUtf8 ? "━" : "#";
        for (std::size_t i = full; i < cells; ++i) behind += isUtf8 ? "─" : ".";
        line += isColoured ? "\033[36m" + before + "\033[0m\033[2m" + behind + "\033[0m"
                           : before + behind;
        line += "  ";
    }
    if (!count.empty()) line += count + "  ";
    if (!detail.empty()) line += detail + "  ";
    return line + time;
}

std::string Progress::plainLine(Clock::time_point now) const {
    std::string line = m_work.name;
    if (m_work.total > 1)
        line += "  " + withThousands(m_work.done) + " of " + withThousands(m_work.total);
    if (!m_work.detail.empty()) line += "  " + m_work.detail;
    const double left = secondsLeft(now);
    return line + "  " +
           (left >= 0
                ? durationText(left) + " left"
                : "since " + durationText(std::chrono::duration<double>(now - m_began).count()));
}

}  // namespace luthier::cli
