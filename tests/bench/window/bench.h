// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// What both window benchmarks share: a home of their own, samples with median, 99th percentile and
// worst, and a watch on the gaps of the event loop.

#include <QApplication>
#include <QDir>
#include <QElapsedTimer>
#include <QTemporaryDir>
#include <QTimer>

#include <algorithm>
#include <cstdio>
#include <vector>

namespace luthier::bench {

struct Samples {
    std::vector<double> values;

    void add(double value) { values.push_back(value); }
    double quantile(double share) const {
        if (values.empty()) return 0;
        std::vector<double> sorted = values;
        std::sort(sorted.begin(), sorted.end());
        return sorted[static_cast<std::size_t>(share * static_cast<double>(sorted.size() - 1))];
    }
    double worst() const { return quantile(1); }
    void print(const char* what, const char* unit) const {
        std::printf("%-52s median %8.2f  p99 %8.2f  worst %8.2f %s  (%zu)\n", what, quantile(0.5),
                    quantile(0.99), worst(), unit, values.size());
        std::fflush(stdout);
    }
};

/// Milliseconds between ticks of a timer that wants to tick every millisecond: what one turn of the
/// event loop took beside it.
class GapWatch final : public QObject {
public:
    GapWatch() {
        m_timer.setTimerType(Qt::PreciseTimer);
        connect(&m_timer, &QTimer::timeout, this, [this] {
            gaps.add(static_cast<double>(m_clock.nsecsElapsed()) / 1e6);
            m_clock.start();
        });
    }
    void start() {
        gaps.values.clear();
        m_clock.start();
        m_timer.start(1);
    }
    void stop() { m_timer.stop(); }
    Samples gaps;

private:
    QTimer m_timer;
    QElapsedTimer m_clock;
};

/// Runs the event loop until `done` or the time is over; false when it was.
template <class Done>
bool runUntil(Done done, int maxMs) {
    QElapsedTimer clock;
    clock.start();
    while (!done()) {
        if (clock.elapsed() > maxMs) return false;
        QCoreApplication::processEvents(QEventLoop::WaitForMoreEvents | QEventLoop::AllEvents, 5);
    }
    return true;
}

inline void runFor(int ms) {
    QElapsedTimer clock;
    clock.start();
    runUntil([&] { return clock.elapsed() >= ms; }, ms + 1000);
}

/// Settings, caches and the workspace of a benchmark, gone afterwards.
class Home final {
public:
    Home() {
        qputenv("HOME", m_folder.path().toUtf8());
        qputenv("XDG_CONFIG_HOME", (m_folder.path() + "/config").toUtf8());
        qputenv("XDG_RUNTIME_DIR", m_folder.path().toUtf8());
        QDir().mkpath(workspace() + "/runs");
    }
    QString workspace() const { return m_folder.path() + "/workspace"; }

private:
    QTemporaryDir m_folder;
};

}  // namespace luthier::bench
