// SPDX-License-Identifier: GPL-3.0-or-later
// Ticks, ranges and looks of a plot's two axes.
#include "plots/plot.h"

#include "theme/format.h"
#include "theme/theme.h"

#include <qcustomplot.h>

#include <cmath>

namespace luthier::ui {

namespace {

class XTicker final : public QCPAxisTicker {
public:
    XTicker(PlotGroup& group, std::function<bool(double, const QString&)> isHidden)
        : m_group(group), m_isHidden(std::move(isHidden)) {}

    void generate(const QCPRange& range, const QLocale& locale, QChar format, int precision,
                  QVector<double>& ticks, QVector<double>* subTicks,
                  QVector<QString>* labels) override {
        QCPAxisTicker::generate(range, locale, format, precision, ticks, subTicks, labels);
        if (!labels) return;
        for (qsizetype i = 0; i < std::min(ticks.size(), labels->size()); ++i)
            if (m_isHidden(ticks[i], (*labels)[i])) (*labels)[i].clear();
    }

protected:
    double getTickStep(const QCPRange& range) override {
        if (m_group.unit() != XUnit::Time) return std::max(1.0, QCPAxisTicker::getTickStep(range));
        const double exact = range.size() / (tickCount() + 1e-10);
        for (double step :
             {1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400})
            if (step >= exact) return step;
        return QCPAxisTicker::getTickStep(range);
    }
    QString getTickLabel(double tick, const QLocale&, QChar, int) override {
        return m_group.xNumber(tick);
    }

private:
    PlotGroup& m_group;
    std::function<bool(double, const QString&)> m_isHidden;  ///< labels under the axis' name
};

template <class Base>
class YTicker final : public Base {
public:
    explicit YTicker(const Plot& plot) : m_plot(plot) {}

protected:
    double getTickStep(const QCPRange& range) override {
        if (m_plot.yUnit == 1) return Base::getTickStep(range);
        return Base::getTickStep(QCPRange(range.lower / m_plot.yUnit, range.upper / m_plot.yUnit)) *
               m_plot.yUnit;
    }
    QString getTickLabel(double tick, const QLocale& locale, QChar format, int precision) override {
        if (m_plot.yText) return m_plot.yText(tick);
        Q_UNUSED(locale)
        Q_UNUSED(format)
        Q_UNUSED(precision)
        return std::fabs(tick) < 1e-12  ? QStringLiteral("0")
               : std::fabs(tick) < 0.01 ? format::rate(tick)
                                        : format::real(std::round(tick * 1e6) / 1e6);
    }

private:
    const Plot& m_plot;
};

/// A raw curve's range between two places but for its lowest and highest hundredth: single outliers
/// do not squeeze the smoothed curve.
MinMax withoutOutliers(const std::vector<float>& y, std::size_t begin, std::size_t end) {
    constexpr std::size_t kSample = 800;
    MinMax range;
    if (end <= begin) return range;
    std::vector<float> sample;
    const std::size_t step = std::max<std::size_t>(1, (end - begin) / kSample);
    for (std::size_t i = begin; i < std::min(end, y.size()); i += step)
        if (std::isfinite(y[i])) sample.push_back(y[i]);
    if (sample.size() < 4) return range;
    std::sort(sample.begin(), sample.end());
    range.add(sample[sample.size() / 100]);
    range.add(sample[sample.size() - 1 - sample.size() / 100]);
    return range;
}

}  // namespace

void Plot::makeAxes() {
    m_plot->xAxis->setTicker(QSharedPointer<QCPAxisTicker>(new XTicker(
        m_group, [this](double tick, const QString& text) { return isUnderXLabel(tick, text); })));
    setLog(m_isLog);
}

void Plot::setLog(bool log) {
    m_isLog = log;
    m_plot->yAxis->setScaleType(log ? QCPAxis::stLogarithmic : QCPAxis::stLinear);
    if (log) {
        m_plot->yAxis->setTicker(
            QSharedPointer<QCPAxisTicker>(new YTicker<QCPAxisTickerLog>(*this)));
    } else {
        QSharedPointer<QCPAxisTicker> ticker(new YTicker<QCPAxisTicker>(*this));
        ticker->setTickCount(m_isCompact ? 3 : 5);
        m_plot->yAxis->setTicker(ticker);
    }
    refresh();
}

void Plot::setCompactAxes(bool compact) {
    m_isCompact = compact;
    m_plot->xAxis->ticker()->setTickCount(compact ? 3 : 6);
    setLog(m_isLog);
}

void Plot::applyTheme() {
    const Tokens& t = tokens();
    m_plot->setBackground(QBrush(t.bg1));
    QFont font = themeFont(Type::Caption);
    for (QCPAxis* axis : {m_plot->xAxis, m_plot->yAxis}) {
        axis->setTickLabelFont(font);
        axis->setTickLabelColor(t.t3);
        axis->setSubTicks(false);
        axis->setNumberFormat("g");  // else QCustomPlot turns 2e-4 into a power of ten
        axis->setBasePen(axis == m_plot->xAxis ? QPen(t.line2, 1) : QPen(Qt::NoPen));
        axis->setTickPen(axis == m_plot->xAxis ? QPen(t.line2, 1) : QPen(Qt::NoPen));
        axis->setTickLengthIn(0);
        axis->setTickLengthOut(axis == m_plot->xAxis ? 4 : 0);
        axis->setTickLabelPadding(axis == m_plot->xAxis ? 4 : 8);
        axis->grid()->setPen(QPen(t.line, 1));
        axis->grid()->setZeroLinePen(QPen(t.line, 1));
        axis->grid()->setSubGridVisible(false);
    }
    m_plot->xAxis->grid()->setVisible(false);
}

void Plot::applyMargins() {
    int right = px(m_isCompact ? 16 : 20);
    m_endLabelWidth = 0;
    if (showEndLabels) {
        const QFontMetrics metrics(themeFont(Type::CaptionStrong));
        for (const auto& curve : curves)
            if (curve->isVisible && !curve->isRaw)
                m_endLabelWidth =
                    std::max(m_endLabelWidth, metrics.horizontalAdvance(curve->label) + 2);
        m_endLabelWidth =
            std::clamp(m_endLabelWidth, px(56), std::max(px(56), std::min(px(150), width() / 5)));
        right = m_endLabelWidth + 16;
    }
    m_plot->axisRect()->setMargins(QMargins(px(48), px(10), right, px(24)));
}

/// Least and greatest value between two x, of everything that the y axis has to hold.
MinMax Plot::shownRange(double low, double high) const {
    MinMax shown;
    bool hasSmooth = false;
    for (const auto& curve : curves)
        hasSmooth =
            hasSmooth || (!curve->isRaw && curve->isVisible && curve->y && !curve->y->empty());
    for (const auto& curve : curves) {
        if (!curve->isVisible || !curve->x || curve->x->empty()) continue;
        const auto& x = *curve->x;
        const auto a = static_cast<std::size_t>(
            std::lower_bound(x.begin(), x.end(), static_cast<float>(low)) - x.begin());
        const auto b = static_cast<std::size_t>(
            std::upper_bound(x.begin(), x.end(), static_cast<float>(high)) - x.begin());
        const MinMax range = curve->isRaw && hasSmooth ? withoutOutliers(*curve->y, a, b)
                                                       : curve->pyramid.query(*curve->y, a, b);
        if (!range.isEmpty()) shown.add(range);
    }
    for (const PlotPoint& point : points)
        if (point.x >= low && point.x <= high && std::isfinite(point.y))
            shown.add(static_cast<float>(point.y));
    if (m_rule == YRule::FromZero) {
        for (const PlotLine& line : lines) shown.add(static_cast<float>(line.y));
        shown.add(0.0f);
    } else if (m_rule == YRule::Log) {
        for (const PlotLine& line : lines)
            if (line.y > 0) shown.add(static_cast<float>(line.y));
    }
    return shown;
}

void Plot::applyRanges() {
    applyMargins();
    const double low = m_group.low(), high = std::max(m_group.high(), low + 1e-9);
    m_plot->xAxis->setRange(low, high);
    const MinMax shown = shownRange(low, high);
    if (shown.isEmpty() || !std::isfinite(shown.low) || !std::isfinite(shown.high)) {
        m_plot->yAxis->setRange(m_isLog ? 0.1 : 0, m_isLog ? 10 : 1);
        return;
    }
    double bottom = shown.low, top = shown.high;
    if (m_isLog) {
        bottom = std::max(bottom, 1e-9);
        top = std::max(top, bottom * 1.5);
        const double pad = std::pow(top / bottom, 0.08);
        if (m_rule == YRule::Log) {
            bottom = std::pow(10, std::floor(std::log10(bottom)));
            top = std::pow(10, std::ceil(std::log10(top)));
        } else {
            bottom /= pad;
            top *= pad;
        }
    } else {
        const double pad = std::max((top - bottom) * 0.08, std::fabs(top) * 1e-3 + 1e-12);
        top += pad;
        if (m_rule != YRule::FromZero) bottom -= pad;
    }
    m_plot->yAxis->setRange(bottom, top);
}

bool Plot::isUnderXLabel(double tick, const QString& text) const {
    if (xLabel.isEmpty()) return false;
    const QFontMetrics metrics(themeFont(Type::Caption));
    return pixelX(tick) + metrics.horizontalAdvance(text) / 2.0 + 8 >
           plotRect().right() - metrics.horizontalAdvance(xLabel);
}

}  // namespace luthier::ui
