// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// How many rows have how many tokens, with the maximum length as a line that can be dragged or
// moved with the arrow keys: what lies behind it turns red and is counted at once, exactly, because
// every length is known.

#include <QWidget>

#include <map>

namespace luthier::ui {

class LengthHistogram final : public QWidget {
    Q_OBJECT
public:
    LengthHistogram();
    /// Rows by their length in tokens, before any cut. `nothing`: what stands there when there are
    /// none, else "No rows".
    void setLengths(std::map<int, std::int64_t> rowsByLength, const QString& nothing = {});
    void setLimit(int tokens);
    int limit() const { return m_limit; }
    std::int64_t rowCount() const { return m_rows; }
    std::int64_t rowsOver(int tokens) const;
    std::int64_t tokensKept(int tokens) const;
    std::int64_t tokensAll() const { return m_tokens; }
    int quantile(double share) const;
    int longest() const { return m_rowsByLength.empty() ? 0 : m_rowsByLength.rbegin()->first; }
    QSize sizeHint() const override;

signals:
    void moved(int tokens);   ///< while the line is dragged
    void chosen(int tokens);  ///< when it is let go

protected:
    void paintEvent(QPaintEvent*) override;
    void mousePressEvent(QMouseEvent* event) override;
    void mouseMoveEvent(QMouseEvent* event) override;
    void mouseReleaseEvent(QMouseEvent*) override;
    void keyPressEvent(QKeyEvent* event) override;
    void keyReleaseEvent(QKeyEvent* event) override;

private:
    QRectF plot() const;
    double toX(double tokens) const;
    int toTokens(double x) const;
    double span() const;
    void moveTo(int tokens);
    std::map<int, std::int64_t> m_rowsByLength;
    QString m_nothing;
    std::int64_t m_rows = 0, m_tokens = 0;
    int m_limit = 0;
    bool m_isDragging = false, m_hasMoved = false;
};

}  // namespace luthier::ui
