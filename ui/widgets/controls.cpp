// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/controls.h"

#include "theme/icons.h"
#include "theme/theme.h"
#include "widgets/basics.h"

#include <QAbstractScrollArea>
#include <QApplication>
#include <QComboBox>
#include <QKeyEvent>
#include <QMouseEvent>
#include <QPainter>
#include <QPointer>

namespace luthier::ui {

SegmentedControl::SegmentedControl(const QStringList& items, int height)
    : m_items(items), m_height(height) {
    setFocusPolicy(Qt::TabFocus);
    setMouseTracking(true);
    setSizePolicy(QSizePolicy::Fixed, QSizePolicy::Fixed);
}

void SegmentedControl::setItems(const QStringList& items) {
    if (items == m_items) return;
    m_items = items;
    m_current = qBound(0, m_current, static_cast<int>(items.size()) - 1);
    updateGeometry();
    update();
}

void SegmentedControl::setCurrent(int index) {
    if (index == m_current) return;
    m_current = index;
    setAccessibleDescription(m_items.value(index));
    update();
}

QSize SegmentedControl::sizeHint() const {
    const QFontMetrics metrics(themeFont(m_height < 28 ? Type::Table : Type::Table));
    int width = 4;
    for (const QString& item : m_items) width += metrics.horizontalAdvance(item) + 20;
    return {width, px(m_height)};
}

QRectF SegmentedControl::rectOf(int index) const {
    if (m_isStretched) {
        const double each = (width() - 4.0) / qMax<qsizetype>(1, m_items.size());
        return {2 + each * index, 2, each, height() - 4.0};
    }
    const QFontMetrics metrics(themeFont(Type::Table));
    double x = 2;
    for (int i = 0; i < index; ++i) x += metrics.horizontalAdvance(m_items[i]) + 20;
    return {x, 2, metrics.horizontalAdvance(m_items[index]) + 20.0, height() - 4.0};
}

int SegmentedControl::indexAt(QPointF point) const {
    for (int i = 0; i < m_items.size(); ++i)
        if (rectOf(i).contains(point)) return i;
    return -1;
}

void SegmentedControl::choose(int index) {
    if (index < 0 || index >= m_items.size() || index == m_current) return;
    setCurrent(index);
    emit changed(index);
}

void SegmentedControl::paintEvent(QPaintEvent*) {
    const Tokens& t = Theme::tokens();
    QPainter p(this);
    p.setRenderHint(QPainter::Antialiasing);
    p.setPen(QPen(t.line, 1));
    p.setBrush(t.isDark ? t.bg0 : t.bg3);
    p.drawRoundedRect(QRectF(rect()).adjusted(0.5, 0.5, -0.5, -0.5), 6, 6);
    p.setFont(themeFont(Type::Table));
    for (int i = 0; i < m_items.size(); ++i) {
        const QRectF box = rectOf(i);
        if (i == m_current) {
            p.setPen(t.isDark ? Qt::NoPen : QPen(t.line2, 1));
            p.setBrush(t.segmentOn);
            p.drawRoundedRect(box.adjusted(0.5, 0.5, -0.5, -0.5), 4, 4);
        }
        QFont font = themeFont(i == m_current ? Type::TableStrong : Type::Table);
        p.setFont(font);
        p.setPen(!isEnabled() ? t.dis : i == m_current || i == m_hover ? t.t1 : t.t2);
        p.drawText(box, Qt::AlignCenter, m_items[i]);
    }
}

void SegmentedControl::mousePressEvent(QMouseEvent* event) { choose(indexAt(event->position())); }

void SegmentedControl::mouseMoveEvent(QMouseEvent* event) {
    const int over = indexAt(event->position());
    if (over == m_hover) return;
    m_hover = over;
    update();
}

void SegmentedControl::leaveEvent(QEvent*) {
    m_hover = -1;
    update();
}

void SegmentedControl::keyPressEvent(QKeyEvent* event) {
    if (event->key() == Qt::Key_Left) return choose(m_current - 1);
    if (event->key() == Qt::Key_Right) return choose(m_current + 1);
    QWidget::keyPressEvent(event);
}

Toggle::Toggle(const QString& accessibleName) {
    setCheckable(true);
    setAccessibleName(accessibleName);
    setFocusPolicy(Qt::TabFocus);
    setSizePolicy(QSizePolicy::Fixed, QSizePolicy::Fixed);
}

void Toggle::paintEvent(QPaintEvent*) {
    const Tokens& t = Theme::tokens();
    QPainter p(this);
    p.setRenderHint(QPainter::Antialiasing);
    const QRectF track(0.5, (height() - 16) / 2.0 + 0.5, 27, 15);
    p.setPen(QPen(isChecked() ? t.fill : t.ctl, 1));
    p.setBrush(isChecked() ? t.fill : t.ctl);
    p.drawRoundedRect(track, 8, 8);
    p.setPen(Qt::NoPen);
    p.setBrush(Qt::white);
    p.drawEllipse(
        QPointF(isChecked() ? track.right() - 7.5 : track.left() + 7.5, track.center().y()), 5.5,
        5.5);
}

StatTile::StatTile(const QString& caption) {
    auto* column = makeColumn(1);
    m_caption = makeLabel(caption, "caption", "t2");
    auto* row = makeRow(5);
    m_value = makeLabel(QStringLiteral("–"), "title");
    m_unit = makeLabel({}, "table", "t2");
    row->addWidget(m_value, 0, Qt::AlignBaseline);
    row->addWidget(m_unit, 0, Qt::AlignBaseline);
    row->addStretch(1);
    column->addWidget(m_caption);
    column->addLayout(row);
    setLayout(column);
    setSizePolicy(QSizePolicy::Minimum, QSizePolicy::Fixed);
}

void StatTile::set(const QString& value, const QString& unit) {
    if (m_value->text() != value) m_value->setText(value);
    if (m_unit->text() != unit) m_unit->setText(unit);
}

void StatTile::setCaption(const QString& caption) { m_caption->setText(caption); }

Chip::Chip(const QString& text, const char* kind, const QString& icon)
    : m_text(text), m_kind(QLatin1String(kind)), m_icon(icon) {
    setSizePolicy(QSizePolicy::Fixed, QSizePolicy::Fixed);
}

void Chip::set(const QString& text, const char* kind, const QString& icon) {
    m_text = text;
    m_kind = QLatin1String(kind);
    m_icon = icon;
    setAccessibleName(text);
    updateGeometry();
    update();
}

QSize Chip::sizeHint() const {
    const QFontMetrics metrics(themeFont(Type::Table));
    return {metrics.horizontalAdvance(m_text) + 14 + (m_icon.isEmpty() ? 0 : 17), px(20)};
}

void Chip::paintEvent(QPaintEvent*) {
    const Tokens& t = Theme::tokens();
    QColor ground = t.bg3, ink = t.t1;
    if (m_kind == "soft") {
        ground = t.soft;
        ink = t.acc;
    } else if (m_kind == "ok") {
        ground = t.oksoft;
        ink = t.ok;
    } else if (m_kind == "warn") {
        ground = t.warnsoft;
        ink = t.warn;
    } else if (m_kind == "err") {
        ground = t.errsoft;
        ink = t.err;
    } else if (m_kind == "quiet")
        ink = t.t2;
    QPainter p(this);
    p.setRenderHint(QPainter::Antialiasing);
    p.setPen(m_kind == "outline" ? QPen(t.line2, 1) : Qt::NoPen);
    p.setBrush(m_kind == "outline" ? Qt::NoBrush : QBrush(ground));
    p.drawRoundedRect(QRectF(rect()).adjusted(0.5, 0.5, -0.5, -0.5), 4, 4);
    double x = 7;
    if (!m_icon.isEmpty()) {
        drawIcon(p, m_icon, QRectF(x - 1, (height() - 14) / 2.0, 14, 14), ink);
        x += 16;
    }
    p.setFont(themeFont(Type::Table));
    p.setPen(ink);
    p.drawText(QRectF(x, 0, width() - x, height()), Qt::AlignVCenter | Qt::AlignLeft, m_text);
}

StatusLook statusLook(const QString& status) {
    if (status == "queued" || status == "waiting")
        return {QObject::tr("Waiting"), "quiet", "clock"};
    if (status == "running") return {QObject::tr("Training"), "soft", "dot"};
    if (status == "starting") return {QObject::tr("Starting"), "soft", "clock"};
    if (status == "paused") return {QObject::tr("Paused"), "outline", "pause"};
    if (status == "finished") return {QObject::tr("Finished"), "ok", "check"};
    if (status == "stopped") return {QObject::tr("Stopped"), "quiet", "stop"};
    if (status == "interrupted") return {QObject::tr("Interrupted"), "warn", "warning"};
    return {QObject::tr("Failed"), "err", "error"};
}

UnitField::UnitField(const QString& unit) { setUnit(unit); }

void UnitField::setUnit(const QString& unit) {
    m_unit = unit;
    const int room =
        unit.isEmpty() ? 0 : QFontMetrics(themeFont(Type::Table)).horizontalAdvance(unit) + 8;
    setTextMargins(0, 0, room, 0);
    update();
}

void UnitField::paintEvent(QPaintEvent* event) {
    QLineEdit::paintEvent(event);
    if (m_unit.isEmpty()) return;
    QPainter p(this);
    p.setFont(themeFont(Type::Table));
    p.setPen(isEnabled() ? Theme::tokens().t3 : Theme::tokens().dis);
    p.drawText(QRectF(rect()).adjusted(0, 0, -9, 0), Qt::AlignVCenter | Qt::AlignRight, m_unit);
}

QSize KeyCap::sizeHint() const {
    return {QFontMetrics(themeFont(Type::Caption)).horizontalAdvance(m_text) + 10, px(18)};
}

void KeyCap::paintEvent(QPaintEvent*) {
    QPainter p(this);
    p.setRenderHint(QPainter::Antialiasing);
    p.setPen(QPen(Theme::tokens().line2, 1));
    p.drawRoundedRect(QRectF(rect()).adjusted(0.5, 0.5, -0.5, -0.5), 4, 4);
    p.setFont(themeFont(Type::Caption));
    p.setPen(Theme::tokens().t2);
    p.drawText(rect(), Qt::AlignCenter, m_text);
}

FocusRing::FocusRing(QWidget* window) : QWidget(window) {
    setAttribute(Qt::WA_TransparentForMouseEvents);
    setAttribute(Qt::WA_NoSystemBackground);
    hide();
    connect(qApp, &QApplication::focusChanged, this, &FocusRing::follow);
}

void FocusRing::follow(QWidget* old, QWidget* now) {
    Q_UNUSED(old)
    if (m_target) m_target->removeEventFilter(this);
    m_target = nullptr;
    hide();
    if (!now || now->window() != window() || qobject_cast<QAbstractScrollArea*>(now)) return;
    m_target = now;
    now->installEventFilter(this);
    connect(now, &QObject::destroyed, this, [this, now] {
        if (m_target == now) {
            m_target = nullptr;
            hide();
        }
    });
    place();
}

bool FocusRing::eventFilter(QObject* object, QEvent* event) {
    if (object == m_target && (event->type() == QEvent::Move || event->type() == QEvent::Resize ||
                               event->type() == QEvent::Show))
        place();
    if (object == m_target && event->type() == QEvent::Hide) hide();
    if (object == m_target && event->type() == QEvent::Paint) place();
    return false;
}

void FocusRing::place() {
    if (!m_target || !m_target->isVisible()) return hide();
    const QPoint corner = m_target->mapTo(window(), QPoint());
    QRect box(corner, m_target->size());
    QRect clip = m_target->visibleRegion().boundingRect().translated(corner);
    if (clip.size() != m_target->size())
        return hide();  // partly scrolled away: no ring over foreign ground
    box.adjust(-3, -3, 3, 3);
    if (geometry() != box) setGeometry(box);
    if (!isVisible()) {
        show();
        raise();
    }
}

void FocusRing::paintEvent(QPaintEvent*) {
    QPainter p(this);
    p.setRenderHint(QPainter::Antialiasing);
    p.setPen(QPen(Theme::tokens().acc, 2));
    p.drawRoundedRect(QRectF(rect()).adjusted(1, 1, -1, -1), 8, 8);
}

}  // namespace luthier::ui
