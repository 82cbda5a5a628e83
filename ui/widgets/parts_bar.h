// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// Where the parameters of a model are: one bar in shades of the frozen grey, and a line a part with
// its count and share.

#include <QColor>
#include <QWidget>

#include <vector>

namespace luthier::ui {

struct PartShare {
    QString name;
    double count = 0;
};

class PartsBar final : public QWidget {
    Q_OBJECT
public:
    PartsBar();
    void set(std::vector<PartShare> parts);
    QSize sizeHint() const override;
    QSize minimumSizeHint() const override { return {120, sizeHint().height()}; }

protected:
    void paintEvent(QPaintEvent*) override;

private:
    std::vector<PartShare> m_parts;
};

/// A row of bars against one capacity: green while it fits well, yellow when tight, red when it
/// does not.
struct FitRow {
    QString name;
    double bytes = -1;  ///< below 0: still asked
    QString problem;
};

class FitBars final : public QWidget {
    Q_OBJECT
public:
    FitBars();
    void set(std::vector<FitRow> rows, double capacity);
    QSize sizeHint() const override;
    QSize minimumSizeHint() const override { return {120, sizeHint().height()}; }

protected:
    void paintEvent(QPaintEvent*) override;

private:
    std::vector<FitRow> m_rows;
    double m_capacity = 0;
};

}  // namespace luthier::ui
