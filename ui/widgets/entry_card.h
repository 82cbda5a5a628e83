// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// One of the three ways in on the Start page: a drawing, an icon with a title, the keys, two lines
// of text. The whole card is the button.

#include <QAbstractButton>

#include <functional>

class QPainter;

namespace luthier::ui {

class EntryCard final : public QAbstractButton {
    Q_OBJECT
public:
    using Drawing = std::function<void(QPainter& painter, const QRectF& area)>;

    EntryCard(const QString& icon, const QString& title, const QString& keys, Drawing drawing);
    void setWords(const QString& words);
    void setLeading(bool isLeading);  ///< the one that a newcomer should take
    QSize sizeHint() const override;
    QSize minimumSizeHint() const override;

protected:
    void paintEvent(QPaintEvent*) override;
    void enterEvent(QEnterEvent*) override { update(); }
    void leaveEvent(QEvent*) override { update(); }

private:
    QString m_icon, m_keys, m_words;
    Drawing m_drawing;
    bool m_isLeading = false;
};

}  // namespace luthier::ui
