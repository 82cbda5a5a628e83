// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/heat_text.h"

#include "theme/theme.h"

#include <QApplication>
#include <QClipboard>
#include <QContextMenuEvent>
#include <QHelpEvent>
#include <QMenu>
#include <QPainter>
#include <QPointer>
#include <QScrollBar>
#include <QTimer>

#include <cmath>

namespace luthier::ui {

namespace {

constexpr int kLineHeight = 26;
constexpr int kMargin = 16;
constexpr int kLongestLine = 760;  ///< beyond this the eye loses the next line

QString visible(const QString& token) {
    QString text = token;
    text.replace(QStringLiteral("▁"), QStringLiteral("·"))
        .replace(QStringLiteral("Ġ"), QStringLiteral("·"))
        .replace(QStringLiteral("Ċ"), QStringLiteral("↵"));
    text.replace(' ', QStringLiteral("·")).replace('\n', QStringLiteral("↵"));
    return text.isEmpty() ? QStringLiteral("∅") : text;
}

QString probabilityText(double p) {
    return p < 0       ? QStringLiteral("–")
           : p < 0.005 ? QStringLiteral("<0.01")
                       : QString::number(p, 'f', 2);
}

/// The token under the pointer: what it was, what else could have come, and what the base thought
/// of it.
class TokenPopover final : public QWidget {
public:
    TokenPopover(QWidget* window) : QWidget(window) {
        setAttribute(Qt::WA_TransparentForMouseEvents);
    }
    void set(const HeatToken& token, const QColor& color) {
        m_token = token;
        m_color = color;
        bool hasChosen = false;
        for (const HeatAlternative& other : m_token.alternatives)
            hasChosen = hasChosen || isChosen(other);
        if (!hasChosen) m_token.alternatives.push_back({token.text, token.probability});
        resize(px(232), px(36) + px(20) * static_cast<int>(m_token.alternatives.size()) + 6);
        update();
    }

protected:
    void paintEvent(QPaintEvent*) override {
        const Tokens& t = Theme::tokens();
        QPainter p(this);
        p.setRenderHint(QPainter::Antialiasing);
        p.setPen(QPen(t.line2, 1));
        p.setBrush(t.tip);
        p.drawRoundedRect(QRectF(rect()).adjusted(0.5, 0.5, -0.5, -0.5), 8, 8);
        const QRectF head(12, 6, width() - 24, px(24));
        p.setFont(themeFont(Type::Mono));
        p.setPen(t.t1);
        p.drawText(head, Qt::AlignVCenter,
                   p.fontMetrics().elidedText("\"" + visible(m_token.text) + "\"", Qt::ElideRight,
                                              width() - 100));
        p.setFont(themeFont(Type::Table));
        p.setPen(t.t2);
        if (m_token.baseProbability >= 0)
            p.drawText(head, Qt::AlignVCenter | Qt::AlignRight,
                       tr("base %1").arg(probabilityText(m_token.baseProbability)));
        double y = px(32);
        for (const HeatAlternative& other : m_token.alternatives) {
            const bool chosen = isChosen(other);
            const QRectF line(12, y, width() - 24, px(20));
            p.setFont(themeFont(Type::MonoSmall));
            p.setPen(chosen ? t.t1 : t.t2);
            p.drawText(line.adjusted(0, 0, -(width() - 24 - px(72)), 0), Qt::AlignVCenter,
                       p.fontMetrics().elidedText(visible(other.text), Qt::ElideRight, px(70)));
            const double room = width() - 24 - px(80) - px(40);
            p.setPen(Qt::NoPen);
            p.setBrush(chosen ? m_color : t.t3);
            if (other.probability > 0)
                p.drawRoundedRect(QRectF(12 + px(80), line.center().y() - 2,
                                         std::max(4.0, room * other.probability), 4),
                                  2, 2);
            p.setFont(themeFont(chosen ? Type::TableStrong : Type::Table));
            p.setPen(chosen ? t.t1 : t.t2);
            p.drawText(line, Qt::AlignVCenter | Qt::AlignRight, probabilityText(other.probability));
            y += px(20);
        }
    }

private:
    bool isChosen(const HeatAlternative& other) const {
        return visible(other.text) == visible(m_token.text) &&
               std::fabs(other.probability - m_token.probability) < 1e-6;
    }
    HeatToken m_token;
    QColor m_color;
};

}  // namespace

HeatLevel heatLevel(double p) {
    if (p < 0 || p >= 0.8) return {0, 0};
    if (p >= 0.4) return {2, 0.55};
    if (p >= 0.1) return {3, 0.8};
    return {4, 1};
}

HeatText::HeatText(const QString& accessibleName) {
    setAccessibleName(accessibleName);
    setFrameShape(QFrame::NoFrame);
    setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
    setFocusPolicy(Qt::StrongFocus);
    viewport()->setMouseTracking(true);
    viewport()->setAutoFillBackground(false);
    verticalScrollBar()->setSingleStep(kLineHeight);
    connect(verticalScrollBar(), &QScrollBar::valueChanged, this, [this] { setCurrent(-1); });
    connect(&Theme::instance(), &Theme::changed, this, &HeatText::scheduleLayout);
    m_color = Theme::tokens().acc;
}

void HeatText::clear() {
    m_tokens.clear();
    setCurrent(-1);
    scheduleLayout();
}

void HeatText::append(HeatToken token) {
    m_tokens.push_back(std::move(token));
    scheduleLayout();
}

void HeatText::setTokens(std::vector<HeatToken> tokens) {
    m_tokens = std::move(tokens);
    setCurrent(-1);
    scheduleLayout();
}

void HeatText::setBaseProbabilities(const std::vector<double>& values) {
    for (std::size_t i = 0; i < std::min(values.size(), m_tokens.size()); ++i)
        m_tokens[i].baseProbability = values[i];
    viewport()->update();
}

void HeatText::setMode(Mode mode) {
    m_mode = mode;
    viewport()->update();
}

void HeatText::setPlaceholder(const QString& text) {
    m_placeholder = text;
    viewport()->update();
}

QString HeatText::text() const {
    QString text;
    for (const HeatToken& token : m_tokens) text += token.text;
    return text;
}

void HeatText::scheduleLayout() {
    if (std::exchange(m_isLayoutDue, true)) return;
    QTimer::singleShot(33, this, [this] {
        m_isLayoutDue = false;
        layOut();
    });
}

void HeatText::layOut() {
    m_text.clear();
    m_starts.clear();
    for (const HeatToken& token : m_tokens) {
        m_starts.push_back(static_cast<int>(m_text.size()));
        // A space or line break before the first word would only push the text away from its
        // corner.
        m_text += m_text.isEmpty() && (token.text.startsWith(' ') || token.text.startsWith('\n'))
                      ? token.text.mid(1)
                      : token.text;
    }
    m_starts.push_back(static_cast<int>(m_text.size()));
    setAccessibleDescription(m_text);
    QString shaped = m_text;
    shaped.replace('\n', QChar::LineSeparator);
    m_layout.setText(shaped);
    m_layout.setFont(themeFont(Type::Body));
    QTextOption option;
    option.setWrapMode(QTextOption::WrapAtWordBoundaryOrAnywhere);
    m_layout.setTextOption(option);
    m_layout.beginLayout();
    double y = 0;
    const double room = std::clamp(viewport()->width() - 2 * kMargin, 40, px(kLongestLine));
    while (true) {
        QTextLine line = m_layout.createLine();
        if (!line.isValid()) break;
        line.setLineWidth(room);
        line.setPosition({0, y + (px(kLineHeight) - line.height()) / 2 - 2});
        y += px(kLineHeight);
    }
    m_layout.endLayout();
    m_height = y + 2 * kMargin;
    const bool wasAtEnd = verticalScrollBar()->value() >= verticalScrollBar()->maximum() - 4;
    verticalScrollBar()->setPageStep(viewport()->height());
    verticalScrollBar()->setRange(0,
                                  std::max(0, static_cast<int>(m_height) - viewport()->height()));
    if (wasAtEnd && !m_tokens.empty() && m_current < 0)
        verticalScrollBar()->setValue(verticalScrollBar()->maximum());
    viewport()->update();
}

std::vector<QRectF> HeatText::boxesOf(std::size_t token) const {
    std::vector<QRectF> boxes;
    if (token + 1 >= m_starts.size()) return boxes;
    const int begin = m_starts[token], end = m_starts[token + 1];
    if (begin >= end) return boxes;
    const QTextLine first = m_layout.lineForTextPosition(begin);
    for (int i = first.isValid() ? first.lineNumber() : 0; i < m_layout.lineCount(); ++i) {
        const QTextLine line = m_layout.lineAt(i);
        if (line.textStart() >= end) break;
        const int from = std::max(begin, line.textStart());
        int to = std::min(end, line.textStart() + line.textLength());
        while (to > from && m_text[to - 1] == '\n') --to;
        if (from >= to) continue;
        const double left = line.cursorToX(from), right = line.cursorToX(to);
        if (right > left)
            boxes.push_back({kMargin + left, kMargin + i * px(kLineHeight) * 1.0, right - left,
                             px(kLineHeight) * 1.0});
    }
    return boxes;
}

void HeatText::paintEvent(QPaintEvent*) {
    const Tokens& t = Theme::tokens();
    QPainter p(viewport());
    if (m_tokens.empty()) {
        p.setFont(themeFont(Type::Body));
        p.setPen(t.t3);
        p.drawText(viewport()->rect().adjusted(kMargin, kMargin, -kMargin, -kMargin),
                   Qt::AlignTop | Qt::AlignLeft | Qt::TextWordWrap, m_placeholder);
        return;
    }
    p.translate(0, -verticalScrollBar()->value());
    const double top = verticalScrollBar()->value() - px(kLineHeight),
                 bottom = verticalScrollBar()->value() + viewport()->height();
    if (m_current >= 0)
        for (const QRectF& box : boxesOf(static_cast<std::size_t>(m_current))) {
            p.setRenderHint(QPainter::Antialiasing);
            p.setPen(Qt::NoPen);
            p.setBrush(t.bg3);
            p.drawRoundedRect(box.adjusted(-1, 2, 1, -3), 3, 3);
            p.setRenderHint(QPainter::Antialiasing, false);
        }
    p.setPen(t.t1);
    m_layout.draw(&p, {kMargin * 1.0, kMargin * 1.0});
    if (m_mode == Mode::Plain) return;
    // Only what is in sight: a long text has tens of thousands of tokens.
    const int lastLine =
        std::min(m_layout.lineCount() - 1, static_cast<int>((bottom - kMargin) / px(kLineHeight)));
    const int firstLine =
        std::clamp(static_cast<int>((top - kMargin) / px(kLineHeight)), 0, std::max(0, lastLine));
    if (lastLine < 0) return;
    const int firstCharacter = m_layout.lineAt(firstLine).textStart(),
              endCharacter =
                  m_layout.lineAt(lastLine).textStart() + m_layout.lineAt(lastLine).textLength();
    const auto firstToken = std::max<std::ptrdiff_t>(
        0,
        std::upper_bound(m_starts.begin(), m_starts.end(), firstCharacter) - m_starts.begin() - 1);
    for (auto i = static_cast<std::size_t>(firstToken);
         i < m_tokens.size() && i + 1 < m_starts.size() && m_starts[i] < endCharacter; ++i) {
        const HeatToken& token = m_tokens[i];
        HeatLevel level{0, 1};
        QColor color = t.warn;
        bool isDashed = false;
        if (m_mode == Mode::Probability) {
            level = heatLevel(token.probability);
            color = mix(t.bg1, t.warn, level.strength);
        } else if (token.baseProbability >= 0 && token.probability >= 0) {
            const double ratio = std::log2(std::max(1e-6, token.probability) /
                                           std::max(1e-6, token.baseProbability));
            const double size = std::fabs(ratio);
            level.pixels = size < 1 ? 0 : size < 3 ? 2 : size < 6 ? 3 : 4;
            isDashed = ratio < 0;
            color = isDashed ? t.t3 : t.acc;
        }
        if (level.pixels == 0) continue;
        for (const QRectF& box : boxesOf(i)) {
            if (box.bottom() < top || box.top() > bottom) continue;
            const double y = box.bottom() - 6;
            // A leading space belongs to its token, but the line starts under the letters.
            const double lead =
                i > 0 && token.text.startsWith(' ') && box.width() > 6 && box.left() > kMargin ? 3
                                                                                               : 0;
            if (!isDashed) {
                p.fillRect(QRectF(box.left() + lead, y, box.width() - lead - 0.5, level.pixels),
                           color);
            } else {
                for (double x = box.left() + lead; x < box.right() - 1; x += 5)
                    p.fillRect(QRectF(x, y, std::min(3.0, box.right() - x), level.pixels), color);
            }
        }
    }
}

void HeatText::resizeEvent(QResizeEvent*) { layOut(); }

void HeatText::changeEvent(QEvent* event) {
    QAbstractScrollArea::changeEvent(event);
    if (event->type() == QEvent::FontChange) scheduleLayout();
}

int HeatText::tokenAt(QPointF content) const {
    const int line = static_cast<int>((content.y() - kMargin) / px(kLineHeight));
    if (content.y() < kMargin || line < 0 || line >= m_layout.lineCount()) return -1;
    const QTextLine at = m_layout.lineAt(line);
    const double x = content.x() - kMargin;
    if (x < 0 || x > at.naturalTextWidth()) return -1;
    int character = at.xToCursor(x, QTextLine::CursorBetweenCharacters);
    if (at.cursorToX(character) > x) --character;
    const auto next = std::upper_bound(m_starts.begin(), m_starts.end(), character);
    const auto token = static_cast<int>(next - m_starts.begin()) - 1;
    return token >= 0 && token < static_cast<int>(m_tokens.size()) ? token : -1;
}

void HeatText::setCurrent(int token) {
    if (token == m_current) return;
    m_current = token;
    viewport()->update();
    showPopover();
}

void HeatText::showPopover() {
    if (m_current < 0 || m_tokens[static_cast<std::size_t>(m_current)].probability < 0) {
        if (m_popover) m_popover->hide();
        return;
    }
    if (!m_popover) {
        m_popover = new TokenPopover(window());
        connect(this, &QObject::destroyed, m_popover, &QObject::deleteLater);
    }
    auto* popover = static_cast<TokenPopover*>(m_popover.data());
    popover->set(m_tokens[static_cast<std::size_t>(m_current)], m_color);
    const std::vector<QRectF> boxes = boxesOf(static_cast<std::size_t>(m_current));
    if (boxes.empty()) return m_popover->hide();
    const QPoint origin = viewport()->mapTo(window(), QPoint(0, -verticalScrollBar()->value()));
    QPoint at = origin + QPointF(boxes.front().left() - 8, boxes.front().bottom() + 4).toPoint();
    if (at.y() + popover->height() > window()->height() - 30)
        at.setY(origin.y() + static_cast<int>(boxes.front().top()) - popover->height() - 2);
    at.setX(std::clamp(at.x(), 4, std::max(4, window()->width() - popover->width() - 4)));
    popover->move(at);
    popover->show();
    popover->raise();
    const HeatToken& token = m_tokens[static_cast<std::size_t>(m_current)];
    setAccessibleDescription(
        tr("%1, probability %2").arg(token.text, probabilityText(token.probability)));
}

void HeatText::mouseMoveEvent(QMouseEvent* event) {
    setCurrent(tokenAt(event->position() + QPointF(0, verticalScrollBar()->value())));
}

bool HeatText::viewportEvent(QEvent* event) {
    if (event->type() == QEvent::Leave || event->type() == QEvent::Hide) setCurrent(-1);
    return QAbstractScrollArea::viewportEvent(event);
}

void HeatText::keyPressEvent(QKeyEvent* event) {
    const int last = static_cast<int>(m_tokens.size()) - 1;
    if (event->matches(QKeySequence::Copy)) return QApplication::clipboard()->setText(text());
    if (last >= 0 && (event->key() == Qt::Key_Left || event->key() == Qt::Key_Right))
        return setCurrent(
            std::clamp(m_current + (event->key() == Qt::Key_Right ? 1 : -1), 0, last));
    if (event->key() == Qt::Key_Escape && m_current >= 0) return setCurrent(-1);
    QAbstractScrollArea::keyPressEvent(event);
}

void HeatText::focusInEvent(QFocusEvent* event) {
    QAbstractScrollArea::focusInEvent(event);
    if ((event->reason() == Qt::TabFocusReason || event->reason() == Qt::BacktabFocusReason) &&
        !m_tokens.empty())
        setCurrent(0);
}

void HeatText::focusOutEvent(QFocusEvent* event) {
    setCurrent(-1);
    QAbstractScrollArea::focusOutEvent(event);
}

void HeatText::contextMenuEvent(QContextMenuEvent* event) {
    if (m_tokens.empty()) return;
    QMenu menu(this);
    menu.addAction(tr("Copy text"), this, [this] { QApplication::clipboard()->setText(text()); });
    menu.exec(event->globalPos());
}

}  // namespace luthier::ui
