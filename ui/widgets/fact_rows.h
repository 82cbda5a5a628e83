// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// Lines of name and value: facts of a model, a certificate, what is in memory. Painted, so that
// long names cut in one place and numbers line up; the whole text is on the tooltip and read aloud.

#include <QColor>
#include <QWidget>

#include <vector>

namespace luthier::ui {

struct Fact {
    QString name, value;
    QString note;         ///< t3 after the value, in a column of its own when values stand right
    QColor color;         ///< of the value; invalid = t1
    bool isMono = false;  ///< the name is a path or key
    QColor dot;           ///< square before the name
};

class FactRows final : public QWidget {
    Q_OBJECT
public:
    enum class Values { Right, Beside };  ///< Beside: left-aligned in a column after the names
    explicit FactRows(Values values = Values::Right, int rowHeight = 20);
    void set(std::vector<Fact> facts);
    QSize sizeHint() const override;
    QSize minimumSizeHint() const override { return {80, sizeHint().height()}; }

protected:
    void paintEvent(QPaintEvent*) override;

private:
    Values m_values;
    int m_rowHeight;
    std::vector<Fact> m_facts;
};

}  // namespace luthier::ui
