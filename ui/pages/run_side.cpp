// SPDX-License-Identifier: GPL-3.0-or-later
#include "pages/run_side.h"

#include "theme/format.h"
#include "theme/theme.h"
#include "widgets/basics.h"
#include "widgets/controls.h"
#include "widgets/memory_bar.h"

#include <QDateTime>
#include <QFile>
#include <QPainter>
#include <QPlainTextEdit>
#include <QScrollArea>
#include <QScrollBar>
#include <QTextBlock>
#include <QTextLayout>

namespace luthier::ui {

ParametersPane::ParametersPane() {
    auto* column = makeColumn(4);
    column->setContentsMargins(16, 12, 16, 12);
    auto* head = makeRow(8);
    m_total = makeLabel({}, "table", "t2");
    head->addWidget(makeLabel(tr("Parameters"), "strong"));
    head->addStretch(1);
    head->addWidget(m_total);
    auto* row = makeRow(8);
    m_count = makeLabel(QStringLiteral("–"), "message");
    m_share = makeLabel({}, "table", "t2");
    row->addWidget(m_count, 0, Qt::AlignBaseline);
    row->addWidget(m_share, 0, Qt::AlignBaseline);
    row->addStretch(1);
    m_bar = new ParameterBar;
    m_parts = new CountBars;
    column->addLayout(head);
    column->addLayout(row);
    column->addWidget(m_bar);
    column->addSpacing(8);
    column->addWidget(m_parts);
    column->addStretch(1);
    setLayout(column);
    setSizePolicy(QSizePolicy::Preferred, QSizePolicy::Maximum);
}

void ParametersPane::show(const RunRecord& record) {
    if (record.snapshot.trainable + record.snapshot.frozen <= 0) {
        m_count->setText(QStringLiteral("–"));
        m_share->setText(tr("counted once the model is loaded"));
        m_total->setText({});
        m_bar->set(0);
        m_parts->set({});
        return;
    }
    const double total = static_cast<double>(record.snapshot.trainable + record.snapshot.frozen);
    m_total->setText(
        tr("of %1").arg(format::count(record.snapshot.trainable + record.snapshot.frozen)));
    m_count->setText(format::count(record.snapshot.trainable));
    const double share = total > 0 ? static_cast<double>(record.snapshot.trainable) / total : 0;
    m_share->setText(tr("trained · %1").arg(format::percent(share)));
    m_bar->set(share);
    std::vector<NamedCount> rows;
    std::int64_t rest = 0;
    const std::vector<PartCount> parts = record.parts();
    const std::size_t named = parts.size() <= 7
                                  ? parts.size()
                                  : 6;  // a last row "1 other part" would say less than its name
    for (std::size_t i = 0; i < parts.size(); ++i) {
        if (i < named)
            rows.push_back({QString::fromStdString(parts[i].name),
                            static_cast<double>(parts[i].parameters),
                            format::count(parts[i].parameters),
                            Theme::tokens().acc,
                            {}});
        else
            rest += parts[i].parameters;
    }
    if (rest > 0)
        rows.push_back({tr("%1 other parts").arg(parts.size() - named),
                        static_cast<double>(rest),
                        format::count(rest),
                        Theme::tokens().acc,
                        {}});
    if (record.snapshot.frozen > 0)
        rows.push_back({tr("Frozen"),
                        static_cast<double>(0),
                        format::count(record.snapshot.frozen),
                        Theme::tokens().frozen,
                        {}});
    m_parts->set(std::move(rows));
}

namespace {

/// Step, dot on the line, text; the line joins the dots.
class SampleRow final : public QWidget {
public:
    SampleRow(std::int64_t step, const QString& text, bool isLast)
        : m_step(format::count(step)), m_text(text), m_isLast(isLast) {
        QSizePolicy policy(QSizePolicy::Expanding, QSizePolicy::Preferred);
        policy.setHeightForWidth(true);
        setSizePolicy(policy);
        setAccessibleName(tr("Step %1: %2").arg(m_step, text));
    }
    bool hasHeightForWidth() const override { return true; }
    int heightForWidth(int width) const override {
        return QFontMetrics(themeFont(Type::Table))
                   .boundingRect(QRect(0, 0, width - px(62), 4000), Qt::TextWordWrap, m_text)
                   .height() +
               10;
    }
    QSize sizeHint() const override { return {200, heightForWidth(std::max(200, width()))}; }

protected:
    void paintEvent(QPaintEvent*) override {
        const Tokens& t = Theme::tokens();
        QPainter p(this);
        p.setRenderHint(QPainter::Antialiasing);
        p.fillRect(QRectF(5, m_isLast ? 0 : 0, 1, m_isLast ? 10 : height()), t.line2);
        p.setPen(QPen(m_isLast ? t.acc : t.ctl, 1.5));
        p.setBrush(m_isLast ? t.acc : t.bg1);
        p.drawEllipse(QPointF(5.5, 10), 3.5, 3.5);
        p.setFont(themeFont(m_isLast ? Type::TableStrong : Type::Table));
        p.setPen(m_isLast ? t.t1 : t.t2);
        p.drawText(QRectF(18, 0, px(40), 20), Qt::AlignVCenter, m_step);
        p.setFont(themeFont(Type::Table));
        p.drawText(QRectF(px(60), 2, width() - px(62), height()), Qt::TextWordWrap, m_text);
    }

private:
    QString m_step, m_text;
    bool m_isLast;
};

}  // namespace

SamplesPane::SamplesPane() {
    auto* column = makeColumn(8);
    column->setContentsMargins(16, 8, 16, 8);
    auto* head = makeRow(4);
    m_which = makeLabel({}, "table", "t2");
    m_back = makeIconButton("chevron-left", tr("Previous prompt"), 24);
    m_next = makeIconButton("chevron-right", tr("Next prompt"), 24);
    head->addWidget(makeLabel(tr("Samples"), "strong"));
    head->addStretch(1);
    head->addWidget(m_back);
    head->addWidget(m_which);
    head->addWidget(m_next);
    column->addLayout(head);
    m_promptText = new ElidedLabel({}, "table", "t2");
    auto* promptBox = new QWidget;
    promptBox->setProperty("surface", "bg2");
    promptBox->setAttribute(Qt::WA_StyledBackground);
    auto* promptRow = makeRow(0);
    promptRow->setContentsMargins(8, 3, 8, 3);
    promptRow->addWidget(m_promptText);
    promptBox->setLayout(promptRow);
    column->addWidget(promptBox);
    m_empty =
        makeLabel(tr("Texts appear here after each evaluation, when the run has sample prompts."),
                  "table", "t3");
    m_empty->setWordWrap(true);
    m_empty->setAlignment(Qt::AlignTop);
    column->addWidget(m_empty);
    m_list = new QWidget;
    m_list->setLayout(makeColumn(0));
    QScrollArea* area = makeScroll(m_list);
    area->setObjectName("area");
    column->addWidget(area, 1);
    setLayout(column);
    connect(m_back, &QPushButton::clicked, this, [this] {
        m_prompt = std::max(0, m_prompt - 1);
        render();
    });
    connect(m_next, &QPushButton::clicked, this, [this] {
        m_prompt = std::min(static_cast<int>(m_prompts.size()) - 1, m_prompt + 1);
        render();
    });
    connect(&Theme::instance(), &Theme::changed, this, &SamplesPane::render);
    render();
}

void SamplesPane::clear() {
    m_samples.clear();
    m_prompts.clear();
    m_prompt = 0;
    render();
}

void SamplesPane::show(const RunRecord& record) {
    if (record.snapshot.samples.size() == m_samples.size()) return;
    m_samples = record.snapshot.samples;
    m_prompts.clear();
    for (const SamplePoint& sample : m_samples)
        if (!m_prompts.contains(QString::fromStdString(sample.prompt)))
            m_prompts << QString::fromStdString(sample.prompt);
    render();
}

void SamplesPane::render() {
    m_which->setText(m_prompts.isEmpty()
                         ? QString()
                         : tr("prompt %1 of %2").arg(m_prompt + 1).arg(m_prompts.size()));
    for (QWidget* widget : {static_cast<QWidget*>(m_back), static_cast<QWidget*>(m_next),
                            static_cast<QWidget*>(m_which)})
        widget->setVisible(m_prompts.size() > 1);
    m_back->setEnabled(m_prompt > 0);
    m_next->setEnabled(m_prompt + 1 < m_prompts.size());
    m_promptText->parentWidget()->setVisible(!m_prompts.isEmpty());
    m_empty->setVisible(m_prompts.isEmpty());
    m_promptText->setWhole(m_prompts.value(m_prompt));
    while (QLayoutItem* item = m_list->layout()->takeAt(0)) {
        delete item->widget();
        delete item;
    }
    std::vector<const SamplePoint*> mine;
    for (const SamplePoint& sample : m_samples)
        if (QString::fromStdString(sample.prompt) == m_prompts.value(m_prompt))
            mine.push_back(&sample);
    const std::size_t from = mine.size() > 40 ? mine.size() - 40 : 0;
    for (std::size_t i = from; i < mine.size(); ++i)
        m_list->layout()->addWidget(new SampleRow(
            mine[i]->step, QString::fromStdString(mine[i]->text).trimmed(), i + 1 == mine.size()));
    static_cast<QVBoxLayout*>(m_list->layout())->addStretch(1);
    auto* area = findChild<QScrollArea*>("area");
    QMetaObject::invokeMethod(
        area, [area] { area->verticalScrollBar()->setValue(area->verticalScrollBar()->maximum()); },
        Qt::QueuedConnection);
}

LogPane::LogPane() {
    auto* column = makeColumn(4);
    column->setContentsMargins(16, 8, 8, 4);
    auto* head = makeRow(8);
    head->setContentsMargins(0, 0, 8, 0);
    m_which = new SegmentedControl({tr("Events"), tr("Worker")}, 24);
    m_which->setAccessibleName(tr("Log of"));
    head->addWidget(makeLabel(tr("Log"), "strong"));
    head->addStretch(1);
    head->addWidget(m_which);
    column->addLayout(head);
    m_text = new QPlainTextEdit;
    m_text->setReadOnly(true);
    m_text->setProperty("mono", "true");
    m_text->setProperty("bare", "true");
    m_text->setStyleSheet(
        "QPlainTextEdit { background: transparent; border: none; padding: 0; font-size: 11px; }");
    m_text->document()->setDocumentMargin(0);
    m_text->setLineWrapMode(QPlainTextEdit::WidgetWidth);
    m_text->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
    m_text->setMaximumBlockCount(3000);
    m_text->setAccessibleName(tr("Log"));
    column->addWidget(m_text, 1);
    setLayout(column);
    connect(m_which, &SegmentedControl::changed, this, [this] {
        m_text->clear();
        m_shown = 0;
        if (m_which->current() == 1) renderWorker(m_folder, {});
    });
}

namespace {
constexpr std::int64_t kLinesAtOnce =
    400;  // more than that in one go nobody reads, and laying them out would hold the window
}

void LogPane::clear() {
    m_text->clear();
    m_shown = 0;
}

void LogPane::renderWorker(const QString& folder, const QString& errors) {
    QFile file(folder + "/log.txt");
    QString text = errors;
    if (file.open(QIODevice::ReadOnly)) {
        file.seek(std::max<qint64>(0, file.size() - 64 * 1024));
        text = QString::fromUtf8(file.readAll()) + errors;
    }
    if (text != m_text->toPlainText()) {
        m_text->setPlainText(text.isEmpty() ? tr("The worker has not written anything.") : text);
        m_text->verticalScrollBar()->setValue(m_text->verticalScrollBar()->maximum());
    }
}

void LogPane::show(const RunFeed& feed) {
    m_folder = feed.folder();
    if (!isVisible()) return;
    if (m_which->current() == 1) return renderWorker(m_folder, feed.errorText());
    const std::vector<LogLine>& log = feed.record().log;
    const std::int64_t dropped = feed.record().droppedLines,
                       total = dropped + static_cast<std::int64_t>(log.size());
    if (m_shown > total) clear();  // the log began anew
    if (m_shown == total) return;
    m_shown = std::max({m_shown, total - kLinesAtOnce, dropped});
    const Tokens& t = Theme::tokens();
    const bool atEnd =
        m_text->verticalScrollBar()->value() >= m_text->verticalScrollBar()->maximum() - 4;
    QString html;
    for (; m_shown < total; ++m_shown) {
        const LogLine& line = log[static_cast<std::size_t>(m_shown - dropped)];
        const QColor color = line.kind == LogLine::Warning ? t.warn
                             : line.kind == LogLine::Error ? t.err
                             : line.kind == LogLine::Good  ? t.ok
                                                           : t.t2;
        html += QStringLiteral(
                    "<span style=\"color:%1\">%2</span> <span style=\"color:%3\">%4</span><br>")
                    .arg(t.t3.name(),
                         QDateTime::fromMSecsSinceEpoch(static_cast<qint64>(line.time * 1000))
                             .toString("HH:mm:ss"),
                         color.name(), line.words().toHtmlEscaped());
    }
    html.chop(4);
    m_text->appendHtml(html);
    if (atEnd) m_text->verticalScrollBar()->setValue(m_text->verticalScrollBar()->maximum());
}

}  // namespace luthier::ui
