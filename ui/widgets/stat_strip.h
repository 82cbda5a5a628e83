// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// Small figures side by side, each a caption over a value, in columns of equal width: the foot of a
// playground column.

#include <QString>
#include <QWidget>

#include <vector>

namespace luthier::ui {

struct StatEntry {
    QString caption, value, note;  ///< note: t3 after the value
};

class StatStrip final : public QWidget {
    Q_OBJECT
public:
    StatStrip();
    void set(std::vector<StatEntry> entries);
    QSize sizeHint() const override;
    QSize minimumSizeHint() const override { return {120, sizeHint().height()}; }

protected:
    void paintEvent(QPaintEvent*) override;

private:
    std::vector<StatEntry> m_entries;
};

}  // namespace luthier::ui
