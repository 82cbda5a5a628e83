// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/token_view.h"

#include "theme/format.h"
#include "theme/icons.h"
#include "theme/theme.h"
#include "widgets/fact_rows.h"

#include <QApplication>
#include <QClipboard>
#include <QKeyEvent>
#include <QMouseEvent>
#include <QPainter>
#include <QScrollBar>
#include <QVBoxLayout>

#include <algorithm>
#include <cmath>

namespace luthier::ui {

namespace {

constexpr int kHead = 36;
constexpr int kChip = 20;
constexpr int kGap = 2;
constexpr int kMargin = 16;

class FactPopover final : public QFrame {
public:
    explicit FactPopover(QWidget* window)
        : QFrame(window), m_facts(new FactRows(FactRows::Values::Beside)) {
        setProperty("popover", "true");
        setAttribute(Qt::WA_TransparentForMouseEvents);
        auto* column = new QVBoxLayout;
        column->setContentsMargins(12, 8, 12, 8);
        column->addWidget(m_facts);
        setLayout(column);
    }
    void set(std::vector<Fact> facts) {
        m_facts->set(std::move(facts));
        resize(px(248), m_facts->sizeHint().height() + 18);
    }

private:
    FactRows* m_facts;
};

}  // namespace

QString readableToken(const QString& piece, bool* hasSpace) {
    QString text = piece;
    *hasSpace = text.startsWith(QStringLiteral("▁")) || text.startsWith(QStringLiteral("Ġ")) ||
                text.startsWith(' ');
    if (*hasSpace) text.remove(0, 1);
    text.replace(QStringLiteral("▁"), QStringLiteral(" "))
        .replace(QStringLiteral("Ġ"), QStringLiteral(" "))
        .replace(QStringLiteral("Ċ"), QStringLiteral("↵"));
    return text.replace('\n', QStringLiteral("↵")).replace('\t', QStringLiteral("⇥"));
}

TokenView::TokenView() {
    setAccessibleName(tr("Rows of tokens"));
    setFrameShape(QFrame::NoFrame);
    setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
    setFocusPolicy(Qt::StrongFocus);
    viewport()->setMouseTracking(true);
    viewport()->setAutoFillBackground(false);
    verticalScrollBar()->setSingleStep(kChip + kGap);
    connect(verticalScrollBar(), &QScrollBar::valueChanged, this, [this] { setCurrent(-1, -1); });
    connect(&Theme::instance(), &Theme::changed, this, &TokenView::layOut);
}

void TokenView::setRows(std::vector<TokenRow> rows, std::int64_t maxLength) {
    setCurrent(-1, -1);
    m_rows = std::move(rows);
    m_maxLength = maxLength;
    setAccessibleDescription(tr("%n row(s)", nullptr, static_cast<int>(m_rows.size())));
    layOut();
    verticalScrollBar()->setValue(0);
}

void TokenView::setMode(Mode mode) {
    m_mode = mode;
    layOut();
}

void TokenView::setProbabilities(std::size_t row, const QJsonArray& values) {
    if (row >= m_rows.size()) return;
    std::vector<TokenChip>& tokens = m_rows[row].tokens;
    for (std::size_t i = 0; i < tokens.size() && static_cast<qsizetype>(i) < values.size(); ++i)
        tokens[i].probability = values[static_cast<qsizetype>(i)].isDouble()
                                    ? values[static_cast<qsizetype>(i)].toDouble()
                                    : 0;
    if (m_row == static_cast<int>(row)) showPopover();
}

void TokenView::layOut() {
    m_places.assign(m_rows.size(), {});
    const QFont font = m_mode == Mode::Text ? themeFont(Type::Body) : themeFont(Type::Mono);
    const QFontMetricsF metrics(font);
    const double lineHeight = px(kChip) + kGap;
    const bool isText = m_mode == Mode::Text;
    // A line of chips longer than this is hard to read on: wide panes take two rows side by side.
    m_columns = viewport()->width() >= px(1360) ? 2 : 1;
    const double each = static_cast<double>(viewport()->width()) / m_columns;
    double y = 0, tallest = 0;
    for (std::size_t r = 0; r < m_rows.size(); ++r) {
        PlacedRow& place = m_places[r];
        const int column = static_cast<int>(r) % m_columns;
        const double left = column * each + kMargin, right = (column + 1) * each - kMargin;
        place.top = y;
        place.left = column * each;
        place.copy = QRectF(right - px(24), y + (px(kHead) - px(24)) / 2.0, px(24), px(24));
        double x = left, line = y + px(kHead);
        for (const TokenChip& chip : m_rows[r].tokens) {
            Placed placed;
            placed.shown = m_mode == Mode::Ids ? QString::number(chip.id)
                                               : readableToken(chip.text, &placed.hasDot);
            if (m_mode == Mode::Ids) placed.hasDot = false;
            const double dot = placed.hasDot ? (isText ? metrics.horizontalAdvance(' ') : 7) : 0;
            const double width =
                std::max(isText ? 0.0 : 8.0,
                         metrics.horizontalAdvance(placed.shown) + dot + (isText ? 0 : 8));
            if (x + width > right && x > left) {
                x = left;
                line += lineHeight;
            }
            placed.box = QRectF(x, line, width, px(kChip));
            x += width + (isText ? 0 : kGap);
            if (isText && placed.shown == QStringLiteral("↵")) {
                x = left;
                line += lineHeight;
            }
            place.chips.push_back(std::move(placed));
        }
        tallest = std::max(tallest, line + lineHeight + px(12) - y);
        if (column + 1 < m_columns && r + 1 < m_rows.size()) continue;
        for (std::size_t i = r - static_cast<std::size_t>(column); i <= r; ++i)
            m_places[i].height = tallest;
        y += tallest;
        tallest = 0;
    }
    verticalScrollBar()->setPageStep(viewport()->height());
    verticalScrollBar()->setRange(0, std::max(0, static_cast<int>(y) - viewport()->height()));
    viewport()->update();
}

void TokenView::paintHead(QPainter& p, const TokenRow& row, const PlacedRow& place) const {
    const Tokens& t = Theme::tokens();
    std::int64_t prompt = 0, loss = 0;
    for (const TokenChip& chip : row.tokens) {
        loss += chip.state == TokenState::Loss;
        prompt += chip.state == TokenState::Prompt || chip.state == TokenState::Special;
    }
    double x = place.left + kMargin;
    const QRectF line(0, place.top, viewport()->width(), px(kHead));
    const auto words = [&](const QString& text, const QColor& color, Type type, double gap) {
        p.setFont(themeFont(type));
        p.setPen(color);
        if (x + p.fontMetrics().horizontalAdvance(text) > place.copy.left() - 4)
            x = place.copy.left();  // no room: neither this nor what follows
        else
            p.drawText(line.adjusted(x, 0, 0, 0), Qt::AlignVCenter, text);
        x += p.fontMetrics().horizontalAdvance(text) + gap;
    };
    const auto square = [&](const QColor& fill, const QColor& border) {
        if (x + 110 > place.copy.left()) return;
        p.setPen(border);
        p.setBrush(fill);
        p.drawRect(QRectF(x + 0.5, line.center().y() - 4.5, 8, 8));
        x += 15;
    };
    words(tr("Row %1").arg(format::count(row.number)), t.t1, Type::Strong, 12);
    words(tr("%n token(s)", nullptr, static_cast<int>(prompt + loss + row.cutTokens)), t.t2,
          Type::Table, 14);
    if (row.isEvaluation) words(tr("evaluation"), t.t2, Type::Table, 14);
    if (!row.label.isEmpty()) words(tr("class %1").arg(row.label), t.acc, Type::Table, 14);
    square(t.frozensoft, t.ctl);
    words(tr("%1 read").arg(format::count(prompt)), t.t2, Type::Table, 14);
    square(t.acc, t.acc);
    words(tr("%1 with loss").arg(format::count(loss)), t.acc, Type::Table, 14);
    if (row.cutTokens > 0) {
        drawIcon(p, "warning", QRectF(x, line.center().y() - 8, 16, 16), t.err);
        x += 21;
        words(tr("%1 cut at %2").arg(format::count(row.cutTokens), format::count(m_maxLength)),
              t.err, Type::Table, 0);
    }
}

void TokenView::paintChip(QPainter& p, const TokenChip& chip, const Placed& place) const {
    const Tokens& t = Theme::tokens();
    QColor ground = t.frozensoft, ink = t.t2;
    if (chip.state == TokenState::Loss) {
        ground = t.soft;
        ink = t.acc;
    }
    if (chip.state == TokenState::Cut) {
        ground = t.errsoft;
        ink = t.err;
    }
    const bool isText = m_mode == Mode::Text;
    p.setBrush(ground);
    p.setPen(chip.state == TokenState::Special ? QPen(t.ctl, 1) : Qt::NoPen);
    if (isText)
        p.fillRect(place.box, ground);
    else
        p.drawRoundedRect(place.box.adjusted(0.5, 0.5, -0.5, -0.5), 3, 3);
    double x = place.box.left() + (isText ? 0 : 4);
    p.setFont(isText ? themeFont(Type::Body) : themeFont(Type::Mono));
    if (place.hasDot) {
        if (isText) {
            x += p.fontMetrics().horizontalAdvance(' ');
        } else {
            p.setPen(Qt::NoPen);
            p.setBrush(withAlpha(ink, 0.65));
            p.drawEllipse(QPointF(x + 2, place.box.center().y() + 1), 1.2, 1.2);
            x += 7;
        }
    }
    p.setPen(ink);
    p.drawText(QRectF(x, place.box.top(), place.box.right() - x + 2, place.box.height()),
               Qt::AlignVCenter, place.shown);
    if (chip.state == TokenState::Cut)
        p.fillRect(QRectF(place.box.left() + 2, place.box.center().y(), place.box.width() - 4, 1),
                   t.err);
}

void TokenView::paintEvent(QPaintEvent*) {
    const Tokens& t = Theme::tokens();
    QPainter p(viewport());
    p.setRenderHint(QPainter::Antialiasing);
    const double top = verticalScrollBar()->value(), bottom = top + viewport()->height();
    p.translate(0, -top);
    for (std::size_t r = 0; r < m_rows.size() && r < m_places.size(); ++r) {
        const PlacedRow& place = m_places[r];
        if (place.top + place.height < top || place.top > bottom) continue;
        if (r >= static_cast<std::size_t>(m_columns))
            p.fillRect(QRectF(place.left, place.top, viewport()->width() - place.left, 1), t.line);
        if (place.left > 0)
            p.fillRect(QRectF(std::round(place.left), place.top, 1, place.height), t.line);
        paintHead(p, m_rows[r], place);
        drawIcon(p, "copy", place.copy.adjusted(5, 5, -5, -5),
                 m_hoverCopy == static_cast<int>(r) ? t.t1 : t.t3);
        for (std::size_t i = 0; i < place.chips.size(); ++i) {
            const Placed& chip = place.chips[i];
            if (chip.box.bottom() < top || chip.box.top() > bottom) continue;
            paintChip(p, m_rows[r].tokens[i], chip);
        }
    }
    if (m_row < 0) return;
    p.setBrush(Qt::NoBrush);
    p.setPen(QPen(t.acc, 2));
    p.drawRoundedRect(m_places[static_cast<std::size_t>(m_row)]
                          .chips[static_cast<std::size_t>(m_token)]
                          .box.adjusted(-1, -1, 1, 1),
                      4, 4);
}

std::pair<int, int> TokenView::tokenAt(QPointF content) const {
    for (std::size_t r = 0; r < m_places.size(); ++r) {
        const PlacedRow& place = m_places[r];
        if (content.y() < place.top || content.y() > place.top + place.height) continue;
        for (std::size_t i = 0; i < place.chips.size(); ++i)
            if (place.chips[i].box.contains(content))
                return {static_cast<int>(r), static_cast<int>(i)};
    }
    return {-1, -1};
}

void TokenView::setCurrent(int row, int token) {
    if (row == m_row && token == m_token) return;
    const bool isOtherRow = row != m_row;
    m_row = row;
    m_token = token;
    viewport()->update();
    showPopover();
    if (row >= 0 && isOtherRow) {
        const std::vector<TokenChip>& tokens = m_rows[static_cast<std::size_t>(row)].tokens;
        if (std::all_of(tokens.begin(), tokens.end(),
                        [](const TokenChip& chip) { return chip.probability < 0; }))
            emit probabilitiesWanted(row);
    }
}

void TokenView::showPopover() {
    if (m_row < 0) {
        if (m_popover) m_popover->hide();
        return;
    }
    if (!m_popover) {
        m_popover = new FactPopover(window());
        connect(this, &QObject::destroyed, m_popover, &QObject::deleteLater);
    }
    const TokenRow& row = m_rows[static_cast<std::size_t>(m_row)];
    const TokenChip& chip = row.tokens[static_cast<std::size_t>(m_token)];
    const Tokens& t = Theme::tokens();
    bool hasSpace = false;
    const QString shown = readableToken(chip.text, &hasSpace);
    std::vector<Fact> facts{
        {tr("Token"),
         QStringLiteral("\"%1%2\"").arg(hasSpace ? QStringLiteral("·") : QString(), shown),
         tr("id %1").arg(chip.id),
         {},
         false,
         {}}};
    const auto length =
        std::count_if(row.tokens.begin(), row.tokens.end(),
                      [](const TokenChip& each) { return each.state != TokenState::Cut; });
    facts.push_back(
        {tr("Position"), tr("%1 of %2").arg(m_token + 1).arg(length), {}, {}, false, {}});
    const QString label = chip.state == TokenState::Loss  ? tr("%1, carries loss").arg(chip.id)
                          : chip.state == TokenState::Cut ? tr("cut, never seen")
                                                          : tr("none, only read");
    facts.push_back({tr("Label"),
                     label,
                     {},
                     chip.state == TokenState::Loss  ? t.acc
                     : chip.state == TokenState::Cut ? t.err
                                                     : QColor(),
                     false,
                     {}});
    if (chip.probability > 0 && chip.state != TokenState::Cut)
        facts.push_back({tr("Base loss"),
                         QString::number(-std::log(chip.probability), 'f', 2),
                         tr("p %1").arg(QString::number(chip.probability, 'g', 2)),
                         {},
                         false,
                         {}});
    static_cast<FactPopover*>(m_popover.data())->set(facts);
    const QRectF box =
        m_places[static_cast<std::size_t>(m_row)].chips[static_cast<std::size_t>(m_token)].box;
    const QPoint origin = viewport()->mapTo(window(), QPoint(0, -verticalScrollBar()->value()));
    QPoint at = origin + QPointF(box.left(), box.bottom() + 5).toPoint();
    if (at.y() + m_popover->height() > window()->height() - 30)
        at.setY(origin.y() + static_cast<int>(box.top()) - m_popover->height() - 5);
    at.setX(std::clamp(at.x(), 4, std::max(4, window()->width() - m_popover->width() - 4)));
    m_popover->move(at);
    m_popover->show();
    m_popover->raise();
    QStringList words;
    for (const Fact& fact : facts) words << fact.name + " " + fact.value + " " + fact.note;
    setAccessibleDescription(words.join(", "));
}

void TokenView::mouseMoveEvent(QMouseEvent* event) {
    const QPointF content = event->position() + QPointF(0, verticalScrollBar()->value());
    const auto [row, token] = tokenAt(content);
    setCurrent(row, token);
    int over = -1;
    for (std::size_t r = 0; r < m_places.size(); ++r)
        if (m_places[r].copy.contains(content)) over = static_cast<int>(r);
    if (over == m_hoverCopy) return;
    m_hoverCopy = over;
    viewport()->setToolTip(over >= 0 ? tr("Copy the row's text") : QString());
    viewport()->update();
}

void TokenView::mousePressEvent(QMouseEvent*) {
    if (m_hoverCopy < 0) return;
    QString text;
    for (const TokenChip& chip : m_rows[static_cast<std::size_t>(m_hoverCopy)].tokens) {
        bool hasSpace = false;
        const QString shown = readableToken(chip.text, &hasSpace);
        text += (hasSpace ? " " : "") + QString(shown).replace(QStringLiteral("↵"), "\n");
    }
    QApplication::clipboard()->setText(text);
    emit rowCopied(text);
}

bool TokenView::viewportEvent(QEvent* event) {
    if (event->type() == QEvent::Leave || event->type() == QEvent::Hide) setCurrent(-1, -1);
    return QAbstractScrollArea::viewportEvent(event);
}

void TokenView::keyPressEvent(QKeyEvent* event) {
    const int step = event->key() == Qt::Key_Right ? 1 : event->key() == Qt::Key_Left ? -1 : 0;
    if (step == 0 || m_rows.empty()) return QAbstractScrollArea::keyPressEvent(event);
    if (m_row < 0) return setCurrent(0, 0);
    int row = m_row, token = m_token + step;
    if (token < 0 && row > 0)
        token = static_cast<int>(m_rows[static_cast<std::size_t>(--row)].tokens.size()) - 1;
    if (token >= static_cast<int>(m_rows[static_cast<std::size_t>(row)].tokens.size()) &&
        row + 1 < static_cast<int>(m_rows.size())) {
        ++row;
        token = 0;
    }
    token = std::clamp(token, 0,
                       static_cast<int>(m_rows[static_cast<std::size_t>(row)].tokens.size()) - 1);
    const QRectF box =
        m_places[static_cast<std::size_t>(row)].chips[static_cast<std::size_t>(token)].box;
    if (box.top() < verticalScrollBar()->value() ||
        box.bottom() > verticalScrollBar()->value() + viewport()->height())
        verticalScrollBar()->setValue(static_cast<int>(box.top()) - viewport()->height() / 3);
    setCurrent(row, token);
}

void TokenView::focusInEvent(QFocusEvent* event) {
    QAbstractScrollArea::focusInEvent(event);
    if ((event->reason() == Qt::TabFocusReason || event->reason() == Qt::BacktabFocusReason) &&
        !m_rows.empty() && !m_rows.front().tokens.empty())
        setCurrent(0, 0);
}

void TokenView::focusOutEvent(QFocusEvent* event) {
    setCurrent(-1, -1);
    QAbstractScrollArea::focusOutEvent(event);
}

}  // namespace luthier::ui
