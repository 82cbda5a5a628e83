// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/basics.h"

#include "theme/icons.h"
#include "theme/theme.h"

#include <QEvent>
#include <QPainter>
#include <QScrollArea>
#include <QStyle>

namespace luthier::ui {

namespace {

class Scrim final : public QWidget {
public:
    explicit Scrim(QWidget* window) : QWidget(window) {
        setAttribute(Qt::WA_TransparentForMouseEvents);
        setGeometry(window->rect());
        raise();
        show();
    }

protected:
    void paintEvent(QPaintEvent*) override {
        QPainter(this).fillRect(rect(), QColor(0, 0, 0, 140));
    }
};

}  // namespace

FramedDialog::FramedDialog(const QString& title, QSize size, QWidget* parent) : QDialog(parent) {
    setWindowTitle(title);
    setModal(true);
    resize(size);
    if (parent != nullptr) m_scrim = new Scrim(parent->window());
}

FramedDialog::~FramedDialog() { delete m_scrim; }

void FramedDialog::paintEvent(QPaintEvent* event) {
    QDialog::paintEvent(event);
    QPainter p(this);
    p.setPen(Theme::tokens().line2);
    p.drawRect(rect().adjusted(0, 0, -1, -1));
}

QLabel* makeLabel(const QString& text, const char* type, const char* tone, QWidget* parent) {
    auto* label = new QLabel(text, parent);
    label->setProperty("type", QLatin1String(type));
    label->setProperty("tone", QLatin1String(tone));
    label->setTextFormat(Qt::PlainText);
    return label;
}

void setLook(QWidget* widget, const char* property, const QVariant& value) {
    if (widget->property(property) == value) return;
    widget->setProperty(property, value);
    widget->style()->unpolish(widget);
    widget->style()->polish(widget);
    widget->update();
}

void setTone(QLabel* label, const char* tone) { setLook(label, "tone", QLatin1String(tone)); }

QPushButton* makeButton(const QString& text, const char* kind, int size, const QString& icon) {
    auto* button = new QPushButton(text);
    button->setProperty("kind", QLatin1String(kind));
    button->setProperty("size", QString::number(size));
    button->setCursor(Qt::ArrowCursor);
    button->setSizePolicy(QSizePolicy::Preferred, QSizePolicy::Fixed);
    if (!icon.isEmpty()) {
        const bool onFill = QLatin1String(kind) == QLatin1String("primary");
        button->setIcon(onFill ? tintedIcon(icon, Qt::white)
                        : QLatin1String(kind) == QLatin1String("danger")
                            ? tintedIcon(icon, Theme::tokens().err)
                            : themedIcon(icon));
        button->setIconSize({16, 16});
        button->setText(text.isEmpty() ? text : QStringLiteral(" ") + text);
        button->setAccessibleName(text);
    }
    return button;
}

QPushButton* makeIconButton(const QString& icon, const QString& accessibleName, int size,
                            const char* kind) {
    auto* button = makeButton({}, kind, size, icon);
    button->setAccessibleName(accessibleName);
    button->setToolTip(accessibleName);
    button->setFixedSize(size, size);
    return button;
}

QFrame* makeRule(Qt::Orientation orientation) {
    auto* rule = new QFrame;
    rule->setProperty("rule", orientation == Qt::Horizontal ? "h" : "v");
    return rule;
}

QHBoxLayout* makeRow(int spacing, int margin) {
    auto* row = new QHBoxLayout;
    row->setSpacing(spacing);
    row->setContentsMargins(margin, margin, margin, margin);
    return row;
}

QVBoxLayout* makeColumn(int spacing, int margin) {
    auto* column = new QVBoxLayout;
    column->setSpacing(spacing);
    column->setContentsMargins(margin, margin, margin, margin);
    return column;
}

QScrollArea* makeScroll(QWidget* content) {
    auto* area = new QScrollArea;
    content->setProperty("surface", "none");
    area->setWidget(content);
    area->setWidgetResizable(true);
    area->setFrameShape(QFrame::NoFrame);
    area->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
    area->viewport()->setAutoFillBackground(false);
    content->setAutoFillBackground(false);
    return area;
}

ElidedLabel::ElidedLabel(const QString& text, const char* type, const char* tone) : QLabel() {
    setProperty("type", QLatin1String(type));
    setProperty("tone", QLatin1String(tone));
    setTextFormat(Qt::PlainText);
    setSizePolicy(QSizePolicy::Preferred, QSizePolicy::Fixed);
    setWhole(text);
}

void ElidedLabel::setWhole(const QString& text) {
    if (text == m_whole && !text.isEmpty()) return;
    m_whole = text;
    setAccessibleName(text);
    updateGeometry();
    cut();
}

QSize ElidedLabel::sizeHint() const {
    return {fontMetrics().horizontalAdvance(m_whole) + 2, QLabel::sizeHint().height()};
}

void ElidedLabel::changeEvent(QEvent* event) {
    QLabel::changeEvent(event);
    if (event->type() == QEvent::FontChange || event->type() == QEvent::StyleChange) cut();
}

void ElidedLabel::cut() {
    const QString shown = fontMetrics().elidedText(m_whole, Qt::ElideRight, qMax(0, width()));
    if (shown != text()) setText(shown);
    setToolTip(shown == m_whole ? QString() : m_whole);
}

PaneHeader::PaneHeader(const QString& title, int height) {
    setFixedHeight(px(height));
    auto* row = makeRow(8);
    row->setContentsMargins(16, 0, 16, 0);
    m_title = makeLabel(title, "strong");
    m_note = new ElidedLabel({}, "table", "t3");
    m_left = makeRow(8);
    m_right = makeRow(8);
    row->addWidget(m_title);
    row->addWidget(m_note, 1);
    row->addLayout(m_left);
    row->addStretch(0);
    row->addLayout(m_right);
    setLayout(row);
}

void PaneHeader::setTitle(const QString& title) { m_title->setText(title); }
void PaneHeader::setNote(const QString& note) { m_note->setWhole(note); }
void PaneHeader::addLeft(QWidget* widget) {
    static_cast<QHBoxLayout*>(layout())->insertWidget(1, widget);
}
void PaneHeader::addRight(QWidget* widget) { m_right->addWidget(widget); }

EmptyState::EmptyState(const QString& icon, const QString& title, const QString& text,
                       const QString& action) {
    auto* column = makeColumn(8, 24);
    m_icon = new QLabel;
    m_title = makeLabel({}, "title");
    m_text = makeLabel({}, "body", "t2");
    m_text->setWordWrap(true);
    m_text->setMinimumWidth(120);
    m_text->setMaximumWidth(440);
    m_button = makeButton({}, "plain", 32);
    for (QLabel* label : {m_icon, m_title, m_text}) label->setAlignment(Qt::AlignCenter);
    column->addStretch(2);
    column->addWidget(m_icon, 0, Qt::AlignHCenter);
    column->addWidget(m_title, 0, Qt::AlignHCenter);
    auto* textRow = makeRow();
    textRow->addStretch(1);
    textRow->addWidget(m_text, 100);
    textRow->addStretch(1);
    column->addLayout(textRow);
    column->addSpacing(4);
    column->addWidget(m_button, 0, Qt::AlignHCenter);
    column->addStretch(3);
    setLayout(column);
    connect(m_button, &QPushButton::clicked, this, &EmptyState::triggered);
    connect(&Theme::instance(), &Theme::changed, this, &EmptyState::showIcon);
    set(icon, title, text, action);
}

void EmptyState::set(const QString& icon, const QString& title, const QString& text,
                     const QString& action, bool isProblem) {
    m_iconName = icon;
    m_isProblem = isProblem;
    showIcon();
    m_title->setText(title);
    setTone(m_title, isProblem ? "err" : "t1");
    m_text->setText(text);
    m_text->setVisible(!text.isEmpty());
    m_button->setText(action);
    m_button->setVisible(!action.isEmpty());
}

void EmptyState::showIcon() {
    m_icon->setPixmap(
        iconPixmap(m_iconName, m_isProblem ? Theme::tokens().err : Theme::tokens().t3, 32));
}

Banner::Banner(QWidget* parent) : QFrame(parent) {
    auto* row = makeRow(8);
    row->setContentsMargins(12, 6, 12, 6);
    m_icon = new QLabel;
    m_text = makeLabel({}, "table");
    m_text->setWordWrap(true);
    m_action = makeButton({}, "link", 24);
    row->addWidget(m_icon, 0, Qt::AlignTop);
    row->addWidget(m_text, 1);
    row->addWidget(m_action, 0, Qt::AlignTop);
    setLayout(row);
    connect(m_action, &QPushButton::clicked, this, &Banner::triggered);
    connect(&Theme::instance(), &Theme::changed, this, &Banner::showIcon);
    hide();
}

void Banner::show(const char* kind, const QString& text, const QString& action) {
    m_kind = QLatin1String(kind);
    showIcon();
    m_text->setText(text);
    m_action->setText(action);
    m_action->setVisible(!action.isEmpty());
    setLook(this, "banner", m_kind);
    setVisible(true);
}

void Banner::showIcon() {
    const Tokens& t = Theme::tokens();
    const QColor color = m_kind == "warn"  ? t.warn
                         : m_kind == "err" ? t.err
                         : m_kind == "ok"  ? t.ok
                                           : t.t3;
    m_icon->setPixmap(iconPixmap(m_kind == "warn"  ? "warning"
                                 : m_kind == "err" ? "error"
                                 : m_kind == "ok"  ? "ok"
                                                   : "info",
                                 color));
}

}  // namespace luthier::ui
