// SPDX-License-Identifier: Apache-2.0
// The picture of a report: four panels, evaluation loss upwards against one cost each on a log
// axis. Every method keeps its colour and mark in all of them; its name stands beside the mark, so
// that colour is not all that tells them apart.
#include "contract/run_report.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <functional>

namespace luthier {

namespace {

constexpr double kWidth = 1040, kHeight = 760, kGap = 40, kLeft = 54, kTop = 44, kBottom = 40;

/// Okabe and Ito's colours, which people with any colour vision tell apart, and four greys between
/// them.
constexpr std::array<const char*, 12> kColors{"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                              "#e69f00", "#56b4e9", "#8c6d31", "#7a7a7a",
                                              "#5254a3", "#ad494a", "#637939", "#3b3b3b"};

struct Axis {
    const char* title;
    std::function<double(const ReportRow&)> value;
    std::function<std::string(double)> words;
    bool isInBytes = false;  ///< read in powers of two
};

template <class... Values>
std::string printed(const char* format, Values... values) {
    char text[320];
    std::snprintf(text, sizeof text, format, values...);
    return text;
}

std::string shortCount(double value) {
    if (value >= 1e9) return printed("%.3g B", value / 1e9);
    if (value >= 1e6) return printed("%.3g M", value / 1e6);
    if (value >= 1e3) return printed("%.3g K", value / 1e3);
    return printed("%.3g", value);
}

std::string shortBytes(double value) {
    const double kib = 1024;
    if (value >= kib * kib * kib) return printed("%.3g GiB", value / (kib * kib * kib));
    if (value >= kib * kib) return printed("%.3g MiB", value / (kib * kib));
    return printed("%.3g KiB", value / kib);
}

const std::array<Axis, 4>& axes() {
    static const std::array<Axis, 4> list{{
        {"Trainable parameters",
         [](const ReportRow& row) { return static_cast<double>(row.trainable); }, &shortCount},
        {"Peak memory", [](const ReportRow& row) { return static_cast<double>(row.peakBytes); },
         &shortBytes, true},
        {"Time of the steps", [](const ReportRow& row) { return row.seconds; },
         [](double value) { return printed("%.3g s", value); }},
        {"File size", [](const ReportRow& row) { return static_cast<double>(row.fileBytes); },
         &shortBytes, true},
    }};
    return list;
}

struct Mark {
    std::size_t row;
    double x, y;
    bool isBeaten = false;  ///< another row costs no more and is no worse, and better in one
};

struct Range {
    double low = 0, high = 1;
};

/// Values of a log axis worth a line: 1, 2 and 5 times powers of ten, or powers alone on long axes.
std::vector<double> logTicks(const Range& range) {
    std::vector<double> ticks;
    const bool isLong = range.high - range.low > 2.5;
    for (double power = std::floor(range.low); power <= range.high; ++power)
        for (const double digit : {1.0, 2.0, 5.0}) {
            const double at = power + std::log10(digit);
            if ((digit == 1 || !isLong) && at >= range.low && at <= range.high) ticks.push_back(at);
        }
    return ticks;
}

/// Powers of two, fewer where the axis is long; eighths of them on a short one.
std::vector<double> byteTicks(const Range& range) {
    const double low = range.low / std::log10(2.0), high = range.high / std::log10(2.0);
    const int stride = high - low > 16 ? 4 : high - low > 8 ? 2 : 1;
    std::vector<double> ticks;
    for (int power = static_cast<int>(std::floor(low)); power <= high; ++power)
        for (int part = 8; part < (high - low < 2 ? 16 : 9); ++part) {
            const double at = std::log10(std::pow(2, power) * part / 8);
            if (power % stride == 0 && at >= range.low && at <= range.high) ticks.push_back(at);
        }
    return ticks;
}

double roundStep(double rough) {
    const double magnitude = std::pow(10, std::floor(std::log10(rough)));
    for (const double digit : {1.0, 2.0, 5.0})
        if (digit * magnitude >= rough) return digit * magnitude;
    return 10 * magnitude;
}

std::vector<Mark> marksOf(const RunReport& report, const Axis& axis) {
    std::vector<Mark> marks;
    for (std::size_t i = 0; i < report.rows.size(); ++i) {
        const ReportRow& row = report.rows[i];
        if (!std::isnan(row.evalLoss) && axis.value(row) > 0)
            marks.push_back({i, std::log10(axis.value(row)), row.evalLoss});
    }
    for (Mark& mark : marks)
        for (const Mark& other : marks)
            if (other.x <= mark.x && other.y <= mark.y && (other.x < mark.x || other.y < mark.y))
                mark.isBeaten = true;
    std::sort(marks.begin(), marks.end(),
              [](const Mark& a, const Mark& b) { return a.x != b.x ? a.x < b.x : a.y < b.y; });
    return marks;
}

Range rangeOf(const std::vector<Mark>& marks, double Mark::* value, double share, double least) {
    Range range{1e300, -1e300};
    for (const Mark& mark : marks)
        range = {std::min(range.low, mark.*value), std::max(range.high, mark.*value)};
    const double pad = std::max((range.high - range.low) * share, least);
    return {range.low - pad, range.high + pad};
}

class Panel {
public:
    Panel(const RunReport& report, const Axis& axis, double x, double y, double width,
          double height)
        : m_report(report),
          m_axis(axis),
          m_left(x + kLeft),
          m_top(y + kTop),
          m_width(width - kLeft),
          m_height(height - kTop - kBottom),
          m_marks(marksOf(report, axis)) {}

    std::string svg() {
        m_out = printed("<text class=\"title\" x=\"%.1f\" y=\"%.1f\">%s</text>\n", m_left,
                        m_top - 18, m_axis.title);
        if (m_marks.empty()) {
            m_out += printed("<text class=\"tick\" x=\"%.1f\" y=\"%.1f\">No run has both.</text>\n",
                             m_left, m_top + 20);
            return m_out;
        }
        m_x = rangeOf(m_marks, &Mark::x, 0.08, 0.05);
        m_y = rangeOf(m_marks, &Mark::y, 0.1, 1e-4);
        m_x.high += (m_x.high - m_x.low) * 0.16;  // room for the last names
        grid();
        front();
        points();
        names();
        return m_out;
    }

private:
    double toX(double x) const { return m_left + (x - m_x.low) / (m_x.high - m_x.low) * m_width; }
    double toY(double y) const {
        return m_top + m_height - (y - m_y.low) / (m_y.high - m_y.low) * m_height;
    }

    void grid() {
        const double step = roundStep((m_y.high - m_y.low) / 5);
        const int digits = std::max(0, static_cast<int>(-std::floor(std::log10(step) + 1e-9)));
        for (double y = std::ceil(m_y.low / step) * step; y <= m_y.high; y += step) {
            m_out +=
                printed("<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>",
                        m_left, m_left + m_width, toY(y), toY(y));
            m_out += printed(
                "<text class=\"tick\" text-anchor=\"end\" x=\"%.1f\" y=\"%.1f\">%.*f</text>\n",
                m_left - 8, toY(y) + 4, digits, y);
        }
        double lastEnd = -1e9;
        for (const double x : m_axis.isInBytes ? byteTicks(m_x) : logTicks(m_x)) {
            m_out +=
                printed("<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>\n",
                        toX(x), toX(x), m_top, m_top + m_height);
            if (toX(x) - 26 < lastEnd) continue;
            m_out += printed(
                "<text class=\"tick\" text-anchor=\"middle\" x=\"%.1f\" y=\"%.1f\">%s</text>\n",
                toX(x), m_top + m_height + 18, m_axis.words(std::pow(10, x)).c_str());
            lastEnd = toX(x) + 26;
        }
    }

    /// The best that each cost buys.
    void front() {
        std::string path;
        double lastY = 0;
        for (const Mark& mark : m_marks) {
            if (mark.isBeaten) continue;
            path += path.empty() ? printed("M%.1f %.1f", toX(mark.x), toY(mark.y))
                                 : printed(" L%.1f %.1f L%.1f %.1f", toX(mark.x), lastY,
                                           toX(mark.x), toY(mark.y));
            lastY = toY(mark.y);
        }
        m_out += "<path class=\"front\" d=\"" + path + "\"/>\n";
    }

    void points() {
        for (const Mark& mark : m_marks) {
            const char* color = kColors[mark.row % kColors.size()];
            m_out += printed(
                "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"5\" stroke=\"%s\" stroke-width=\"2\" "
                "fill=\"%s\"/>\n",
                toX(mark.x), toY(mark.y), color, mark.isBeaten ? "none" : color);
        }
    }

    /// Each name beside its mark, on the first of a few places where it covers neither a mark nor
    /// another name.
    void names() {
        struct Box {
            double x, y, width;
        };
        std::vector<Box> taken;
        const auto isFree = [&](const Box& box) {
            if (box.x < m_left || box.x + box.width > m_left + m_width + 4 || box.y < m_top + 8 ||
                box.y > m_top + m_height)
                return false;
            for (const Box& other : taken)
                if (box.x < other.x + other.width && other.x < box.x + box.width &&
                    std::fabs(box.y - other.y) < 13)
                    return false;
            for (const Mark& mark : m_marks)
                if (toX(mark.x) > box.x - 6 && toX(mark.x) < box.x + box.width + 6 &&
                    std::fabs(toY(mark.y) - (box.y - 4)) < 10)
                    return false;
            return true;
        };
        for (const Mark& mark : m_marks) {
            const std::string& name = m_report.rows[mark.row].method;
            const double width = 6.4 * static_cast<double>(name.size()), x = toX(mark.x),
                         y = toY(mark.y);
            const Box places[] = {{x + 9, y + 4, width},          {x - 9 - width, y + 4, width},
                                  {x - width / 2, y - 10, width}, {x - width / 2, y + 20, width},
                                  {x + 9, y - 12, width},         {x + 9, y + 20, width},
                                  {x - 9 - width, y - 12, width}, {x - 9 - width, y + 20, width},
                                  {x + 9, y - 28, width},         {x + 9, y + 36, width},
                                  {x - 9 - width, y - 28, width}, {x - 9 - width, y + 36, width}};
            const Box* place = std::find_if(std::begin(places), std::end(places), isFree);
            if (place == std::end(places)) place = places;
            taken.push_back(*place);
            if (std::fabs(place->y - 4 - y) > 20)
                m_out += printed(
                    "<line class=\"lead\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>", x, y,
                    std::clamp(x, place->x, place->x + width), place->y - 4);
            m_out += printed("<text class=\"name\" x=\"%.1f\" y=\"%.1f\">%s</text>\n", place->x,
                             place->y, name.c_str());
        }
    }

    const RunReport& m_report;
    const Axis& m_axis;
    double m_left, m_top, m_width, m_height;
    std::vector<Mark> m_marks;
    Range m_x, m_y;
    std::string m_out;
};

}  // namespace

std::string toSvg(const RunReport& report) {
    std::string text = printed(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" role=\"img\">\n",
        kWidth, kHeight);
    text +=
        "<title>Evaluation loss against what it costs</title>\n<style>"
        "text{font-family:system-ui,sans-serif}.title{font-size:15px;font-weight:600;fill:#1d2025}."
        "tick{font-size:11px;fill:#5d6570}.name{font-size:11.5px;fill:#1d2025}"
        ".grid{stroke:#e2e5ea}.lead{stroke:#9aa2ad}.front{fill:none;stroke:#9aa2ad;stroke-"
        "dasharray:4 4}"
        "@media "
        "(prefers-color-scheme:dark){.title,.name{fill:#e6e8eb}.tick{fill:#9aa2ad}.grid{stroke:#"
        "2b2f36}}</style>\n";
    const double width = (kWidth - kGap) / 2, height = (kHeight - 24) / 2;
    for (std::size_t i = 0; i < axes().size(); ++i)
        text += Panel(report, axes()[i], i % 2 == 0 ? 0 : width + kGap, i < 2 ? 0 : height, width,
                      height)
                    .svg();
    text += printed(
        "<text class=\"tick\" x=\"%.0f\" y=\"%.0f\">Evaluation loss upwards, lower is better. "
        "Filled: nothing costs less and is better; joined by the dashed line.</text>\n</svg>\n",
        kLeft, kHeight - 8);
    return text;
}

}  // namespace luthier
