// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/picker.h"

#include "theme/icons.h"
#include "theme/theme.h"
#include "widgets/basics.h"

#include <QLineEdit>
#include <QPainter>

namespace luthier::ui {

PickerButton::PickerButton(const QString& icon, const QString& caption)
    : m_icon(icon), m_caption(caption) {
    setAccessibleName(caption);
    setFocusPolicy(Qt::TabFocus);
    setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Fixed);
}

void PickerButton::set(const QString& value, const QString& note) {
    m_value = value;
    m_note = note;
    setAccessibleDescription(value + " " + note);
    update();
}

void PickerButton::setProblem(bool isProblem) {
    m_isProblem = isProblem;
    update();
}

QSize PickerButton::sizeHint() const { return {200, px(40)}; }

void PickerButton::paintEvent(QPaintEvent*) {
    const Tokens& t = Theme::tokens();
    QPainter p(this);
    p.setRenderHint(QPainter::Antialiasing);
    p.setPen(QPen(m_isProblem ? t.err : underMouse() ? t.t3 : t.ctl, 1));
    p.setBrush(t.field);
    p.drawRoundedRect(QRectF(rect()).adjusted(0.5, 0.5, -0.5, -0.5), 6, 6);
    drawIcon(p, m_icon, QRectF(12, (height() - 16) / 2.0, 16, 16), t.t2);
    drawIcon(p, "chevron-down", QRectF(width() - 28, (height() - 16) / 2.0, 16, 16), t.t2);
    const QRectF text(38, 3, width() - 38 - 32, height() - 7);
    p.setFont(themeFont(Type::Caption));
    p.setPen(t.t2);
    p.drawText(text, Qt::AlignTop | Qt::AlignLeft, m_caption);
    p.setFont(themeFont(Type::Name));
    p.setPen(m_value.isEmpty() ? t.t3 : t.t1);
    const QString value = m_value.isEmpty() ? tr("Choose…") : m_value;
    const QString shown =
        p.fontMetrics().elidedText(value, Qt::ElideMiddle, static_cast<int>(text.width()));
    p.drawText(text, Qt::AlignBottom | Qt::AlignLeft, shown);
    const double used = p.fontMetrics().horizontalAdvance(shown) + 5;
    p.setFont(themeFont(Type::Body));
    p.setPen(t.t2);
    if (used + p.fontMetrics().horizontalAdvance(m_note) < text.width())
        p.drawText(text.adjusted(used, 0, 0, 0), Qt::AlignBottom | Qt::AlignLeft, m_note);
}

PickerField::PickerField(const QString& icon, const QString& caption)
    : m_icon(icon), m_caption(caption) {
    setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Fixed);
    setFixedHeight(px(40));
    m_edit = new QLineEdit;
    m_edit->setAccessibleName(caption);
    m_edit->setFrame(false);
    m_edit->setStyleSheet(
        "QLineEdit { border: none; background: transparent; padding: 0; min-height: 0; "
        "font-weight: 500; }");
    auto* column = makeColumn(0);
    column->setContentsMargins(38, px(17), 10, 3);
    column->addWidget(m_edit);
    setLayout(column);
    setFocusProxy(m_edit);
}

QSize PickerField::sizeHint() const { return {180, px(40)}; }

void PickerField::paintEvent(QPaintEvent*) {
    const Tokens& t = Theme::tokens();
    QPainter p(this);
    p.setRenderHint(QPainter::Antialiasing);
    p.setPen(QPen(m_edit->hasFocus() ? t.acc : t.ctl, 1));
    p.setBrush(t.field);
    p.drawRoundedRect(QRectF(rect()).adjusted(0.5, 0.5, -0.5, -0.5), 6, 6);
    drawIcon(p, m_icon, QRectF(12, (height() - 16) / 2.0, 16, 16), t.t2);
    p.setFont(themeFont(Type::Caption));
    p.setPen(t.t2);
    p.drawText(QRectF(38, 3, width() - 44, height() - 7), Qt::AlignTop | Qt::AlignLeft, m_caption);
}

}  // namespace luthier::ui
