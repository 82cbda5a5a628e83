// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/length_histogram.h"

#include "theme/format.h"
#include "theme/theme.h"

#include <QKeyEvent>
#include <QMouseEvent>
#include <QPainter>

#include <algorithm>
#include <cmath>

namespace luthier::ui {

namespace {

/// The largest of 1, 2, 5, 10, 20, … that makes at most `count` steps of `span`.
double niceStep(double span, int count) {
    const double raw = std::max(1e-9, span / count),
                 scale = std::pow(10.0, std::floor(std::log10(raw)));
    for (const double step : {1.0, 2.0, 5.0, 10.0})
        if (step * scale >= raw) return std::max(1.0, step * scale);
    return std::max(1.0, 10 * scale);
}

}  // namespace

LengthHistogram::LengthHistogram() {
    setAccessibleName(tr("Rows by length; the maximum length moves with the arrow keys"));
    setFocusPolicy(Qt::StrongFocus);
    setMouseTracking(true);
    setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Fixed);
}

QSize LengthHistogram::sizeHint() const { return {300, px(196)}; }

void LengthHistogram::setLengths(std::map<int, std::int64_t> rowsByLength, const QString& nothing) {
    m_nothing = nothing;
    m_rowsByLength = std::move(rowsByLength);
    m_rows = m_tokens = 0;
    for (const auto& [length, rows] : m_rowsByLength) {
        m_rows += rows;
        m_tokens += rows * length;
    }
    update();
}

void LengthHistogram::setLimit(int tokens) {
    if (m_isDragging) return;
    m_limit = tokens;
    setAccessibleDescription(
        tr("Maximum length %1, %n row(s) cut", nullptr, static_cast<int>(rowsOver(tokens)))
            .arg(tokens));
    update();
}

std::int64_t LengthHistogram::rowsOver(int tokens) const {
    std::int64_t over = 0;
    for (auto it = m_rowsByLength.upper_bound(tokens); it != m_rowsByLength.end(); ++it)
        over += it->second;
    return over;
}

std::int64_t LengthHistogram::tokensKept(int tokens) const {
    std::int64_t kept = 0;
    for (const auto& [length, rows] : m_rowsByLength) kept += rows * std::min(length, tokens);
    return kept;
}

int LengthHistogram::quantile(double share) const {
    std::int64_t seen = 0;
    for (const auto& [length, rows] : m_rowsByLength) {
        seen += rows;
        if (static_cast<double>(seen) >= share * static_cast<double>(m_rows)) return length;
    }
    return longest();
}

QRectF LengthHistogram::plot() const {
    return QRectF(px(36), px(36), width() - px(36) - px(8), height() - px(36) - px(24));
}
double LengthHistogram::span() const {
    return std::max({8.0, longest() * 1.06,
                     m_rowsByLength.empty() ? 0.0 : std::min(m_limit * 1.12, longest() * 1.6)});
}
double LengthHistogram::toX(double tokens) const {
    return plot().left() + plot().width() * tokens / span();
}
int LengthHistogram::toTokens(double x) const {
    return std::max(2,
                    static_cast<int>(std::lround((x - plot().left()) / plot().width() * span())));
}

void LengthHistogram::paintEvent(QPaintEvent*) {
    const Tokens& t = Theme::tokens();
    QPainter p(this);
    const QRectF area = plot();
    p.setFont(themeFont(Type::Caption));
    if (m_rowsByLength.empty()) {
        p.setPen(t.t3);
        p.drawText(area, Qt::AlignCenter, m_nothing.isEmpty() ? tr("No rows") : m_nothing);
        return;
    }
    const int width = std::max(1, static_cast<int>(std::ceil(span() / 56)));
    std::map<int, std::int64_t> bins;
    for (const auto& [length, rows] : m_rowsByLength) bins[length / width] += rows;
    std::int64_t top = 1;
    for (const auto& [bin, rows] : bins) top = std::max(top, rows);
    const double step = niceStep(static_cast<double>(top) * 1.08, 3);
    const double high =
        std::max(step * std::ceil(static_cast<double>(top) / step), static_cast<double>(top));
    for (double value = 0; value <= high + 0.5; value += step) {
        const double y = area.bottom() - area.height() * value / high;
        p.fillRect(QRectF(area.left(), std::round(y), area.width(), 1),
                   value == 0 ? t.line2 : t.line);
        p.setPen(t.t2);
        p.drawText(QRectF(0, y - 8, area.left() - 6, 16), Qt::AlignRight | Qt::AlignVCenter,
                   value >= 10000 ? format::shortCount(value) : format::count(std::llround(value)));
    }
    for (const auto& [bin, rows] : bins) {
        const double left = toX(bin * width), right = toX((bin + 1) * width);
        const double y = area.bottom() - area.height() * static_cast<double>(rows) / high;
        // A bin that the line crosses is coloured on both sides of it.
        const double limit = std::clamp(toX(m_limit + 1), left, right);
        p.fillRect(
            QRectF(left, y, std::max(0.0, std::min(limit, right - 1) - left), area.bottom() - y),
            t.acc);
        if (limit < right - 1)
            p.fillRect(QRectF(std::max(limit, left), y, right - 1 - std::max(limit, left),
                              area.bottom() - y),
                       mix(t.bg1, t.err, 0.75));
    }
    const double tick = niceStep(span(), 6);
    for (double value = tick; value < span(); value += tick) {
        p.fillRect(QRectF(std::round(toX(value)), area.bottom(), 1, 4), t.line2);
        p.setPen(t.t2);
        p.drawText(QRectF(toX(value) - 30, area.bottom() + 5, 60, 16),
                   Qt::AlignHCenter | Qt::AlignTop,
                   format::count(static_cast<std::int64_t>(value)));
    }
    const double limitX = std::min(toX(m_limit), area.right());
    const bool isOutside = toX(m_limit) > area.right();
    const QString limitWords = tr("max. length %1").arg(format::count(m_limit));
    const double limitWidth = p.fontMetrics().horizontalAdvance(limitWords);
    const bool isLeft = limitX + 12 + limitWidth > this->width();
    const QRectF limitText = isLeft ? QRectF(limitX - 10 - limitWidth, 4, limitWidth, 16)
                                    : QRectF(limitX + 10, 4, limitWidth + 2, 16);
    const int median = quantile(0.5);
    QPen dotted(t.t2, 1, Qt::DotLine);
    p.setPen(dotted);
    p.drawLine(QPointF(toX(median), area.top() - 4), QPointF(toX(median), area.bottom()));
    p.setPen(t.t2);
    const QString medianWords = tr("median %1").arg(format::count(median));
    const double medianWidth = p.fontMetrics().horizontalAdvance(medianWords);
    QRectF medianText(
        std::clamp(toX(median) - medianWidth / 2, 2.0, this->width() - medianWidth - 2.0), 4,
        medianWidth + 2, 16);
    if (medianText.adjusted(-8, 0, 8, 0).intersects(limitText)) medianText.moveTop(px(20));
    p.drawText(medianText, Qt::AlignCenter, medianWords);
    p.setRenderHint(QPainter::Antialiasing);
    p.fillRect(QRectF(limitX - 0.75, 8, 1.5, area.bottom() - 8), t.t1);
    p.setPen(Qt::NoPen);
    p.setBrush(hasFocus() || m_isDragging ? t.acc : t.t1);
    p.drawRoundedRect(QRectF(limitX - 4, 4, 8, 14), 3, 3);
    p.setFont(themeFont(Type::Caption));
    p.setPen(t.t1);
    p.drawText(limitText, Qt::AlignVCenter | (isLeft ? Qt::AlignRight : Qt::AlignLeft), limitWords);
    const std::int64_t over = rowsOver(m_limit);
    if (over > 0 && !isOutside) {
        const QString rows = tr("%n row(s) cut", nullptr, static_cast<int>(over));
        const QRectF box(0, area.top() + px(8), area.right(), 16);
        p.setPen(t.err);
        p.drawText(box, Qt::AlignRight, rows);
        p.setPen(t.t2);
        p.drawText(box.translated(0, px(16)), Qt::AlignRight,
                   format::percent(static_cast<double>(over) /
                                   static_cast<double>(std::max<std::int64_t>(1, m_rows))));
    }
}

void LengthHistogram::moveTo(int tokens) {
    tokens = std::clamp(tokens, 2, std::max(longest() + 64, 2));
    if (tokens == m_limit) return;
    m_limit = tokens;
    m_hasMoved = true;
    update();
    emit moved(tokens);
}

void LengthHistogram::mousePressEvent(QMouseEvent* event) {
    if (event->button() != Qt::LeftButton || m_rowsByLength.empty()) return;
    m_isDragging = true;
    m_hasMoved = false;
    moveTo(toTokens(event->position().x()));
}

void LengthHistogram::mouseMoveEvent(QMouseEvent* event) {
    setCursor(std::fabs(event->position().x() - std::min(toX(m_limit), plot().right())) < 8 ||
                      m_isDragging
                  ? Qt::SizeHorCursor
                  : Qt::ArrowCursor);
    if (m_isDragging) moveTo(toTokens(event->position().x()));
}

void LengthHistogram::mouseReleaseEvent(QMouseEvent*) {
    m_isDragging = false;
    if (std::exchange(m_hasMoved, false)) emit chosen(m_limit);
}

void LengthHistogram::keyPressEvent(QKeyEvent* event) {
    const int step = event->modifiers() & Qt::ShiftModifier ? 16 : 1;
    if (event->key() == Qt::Key_Left) return moveTo(m_limit - step);
    if (event->key() == Qt::Key_Right) return moveTo(m_limit + step);
    QWidget::keyPressEvent(event);
}

void LengthHistogram::keyReleaseEvent(QKeyEvent* event) {
    if (!event->isAutoRepeat() && std::exchange(m_hasMoved, false)) emit chosen(m_limit);
    QWidget::keyReleaseEvent(event);
}

}  // namespace luthier::ui
