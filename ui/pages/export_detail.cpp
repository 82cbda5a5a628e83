// SPDX-License-Identifier: GPL-3.0-or-later
#include "pages/export_detail.h"

#include "theme/format.h"
#include "theme/theme.h"
#include "widgets/basics.h"
#include "widgets/controls.h"
#include "widgets/fact_rows.h"

#include <QApplication>
#include <QClipboard>
#include <QFileInfo>
#include <QJsonArray>
#include <QLineEdit>
#include <QPlainTextEdit>
#include <QScrollArea>

#include <cmath>

namespace luthier::ui {

ExportDetail::ExportDetail() {
    auto* outer = makeColumn(0);
    auto* content = new QWidget;
    auto* column = makeColumn(0);
    const auto section = [&](QVBoxLayout*& inner) {
        auto* box = new QWidget;
        auto* whole = makeColumn(0);
        inner = makeColumn(8);
        inner->setContentsMargins(16, 14, 16, 14);
        whole->addLayout(inner);
        whole->addWidget(makeRule());
        box->setLayout(whole);
        column->addWidget(box);
        return box;
    };
    QVBoxLayout* inner = nullptr;
    section(inner);
    auto* head = makeRow(8);
    m_title = makeLabel({}, "title");
    m_chip = new Chip;
    head->addWidget(m_title);
    head->addStretch(1);
    head->addWidget(m_chip);
    inner->addLayout(head);
    m_explanation = makeLabel({}, "body", "t2");
    m_explanation->setWordWrap(true);
    inner->addWidget(m_explanation);
    m_pathBox = new QWidget;
    auto* pathRow = makeRow(8);
    m_path = new QLineEdit;
    m_path->setReadOnly(true);
    m_path->setAccessibleName(tr("Where it lies"));
    m_copyPath = makeIconButton("copy", tr("Copy path"), 28, "iconframe");
    pathRow->addWidget(m_path, 1);
    pathRow->addWidget(m_copyPath);
    m_pathBox->setLayout(pathRow);
    inner->addWidget(m_pathBox);

    m_filesBox = section(inner);
    auto* filesHead = makeRow(8);
    m_filesNote = makeLabel({}, "table", "t2");
    filesHead->addWidget(makeLabel(tr("Files"), "strong"));
    filesHead->addStretch(1);
    filesHead->addWidget(m_filesNote);
    inner->addLayout(filesHead);
    m_files = new FactRows;
    m_files->setAccessibleName(tr("Files"));
    inner->addWidget(m_files);

    m_certificateBox = section(inner);
    m_certificateTitle = makeLabel(tr("Verified by reloading"), "strong");
    inner->addWidget(m_certificateTitle);
    m_certificateText = makeLabel({}, "table", "t2");
    m_certificateText->setWordWrap(true);
    inner->addWidget(m_certificateText);
    m_certificate = new FactRows(FactRows::Values::Right, 22);
    m_certificate->setAccessibleName(tr("Certificate"));
    inner->addWidget(m_certificate);

    m_snippetBox = section(inner);
    auto* snippetHead = makeRow(8);
    m_copy = makeButton(tr("Copy"), "plain", 28, "copy");
    snippetHead->addWidget(makeLabel(tr("Load it elsewhere"), "strong"));
    snippetHead->addStretch(1);
    snippetHead->addWidget(m_copy);
    inner->addLayout(snippetHead);
    m_tabs = new SegmentedControl({}, 24);
    m_tabs->setAccessibleName(tr("Tool"));
    inner->addWidget(m_tabs, 0, Qt::AlignLeft);
    m_snippet = new QPlainTextEdit;
    m_snippet->setReadOnly(true);
    m_snippet->setProperty("mono", "true");
    m_snippet->setLineWrapMode(QPlainTextEdit::NoWrap);
    m_snippet->setAccessibleName(tr("Code"));
    m_snippet->setVerticalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
    m_snippet->setTabChangesFocus(true);
    inner->addWidget(m_snippet);
    m_limits = makeLabel({}, "table", "t2");
    m_limits->setWordWrap(true);
    inner->addWidget(m_limits);
    column->addStretch(1);
    content->setLayout(column);
    outer->addWidget(makeScroll(content), 1);
    outer->addWidget(makeRule());
    auto* foot = makeRow(8);
    foot->setContentsMargins(16, 12, 16, 12);
    m_show = makeButton(tr("Show in folder"), "plain", 28, "folder");
    m_try = makeButton(tr("Try it"), "plain", 28, "playground");
    foot->addWidget(m_show, 1);
    foot->addWidget(m_try, 1);
    outer->addLayout(foot);
    setLayout(outer);
    connect(m_copyPath, &QPushButton::clicked, this, [this] {
        QApplication::clipboard()->setText(path());
        emit copied();
    });
    connect(m_copy, &QPushButton::clicked, this, [this] {
        QApplication::clipboard()->setText(m_elsewhere.snippets.value(m_tabs->current()).text);
        emit copied();
    });
    connect(m_tabs, &SegmentedControl::changed, this, &ExportDetail::showSnippet);
    connect(m_show, &QPushButton::clicked, this, &ExportDetail::showWanted);
    connect(m_try, &QPushButton::clicked, this,
            [this] { emit tryWanted(m_elsewhere.tryModel, m_elsewhere.tryAdapter); });
}

QString ExportDetail::path() const { return m_path->text(); }

void ExportDetail::showPlan(const QString& title, const QString& explanation) {
    m_title->setText(title);
    m_chip->hide();
    m_explanation->setText(explanation);
    m_explanation->show();
    m_path->clear();
    for (QWidget* box : {m_pathBox, m_filesBox, m_certificateBox, m_snippetBox}) box->hide();
    m_show->setEnabled(false);
    m_try->hide();
}

void ExportDetail::showFolder(const QString& title, const QString& path, const QString& explanation,
                              const QStringList& files, const QString& base) {
    m_title->setText(title);
    m_chip->hide();
    m_explanation->setText(explanation);
    m_explanation->show();
    showPath(path);
    std::vector<Fact> facts;
    for (const QString& name : files)
        facts.push_back({name,
                         format::bytes(static_cast<double>(QFileInfo(path + "/" + name).size())),
                         {},
                         {},
                         true,
                         {}});
    m_files->set(std::move(facts));
    m_filesNote->setText(tr("written by the run"));
    m_filesNote->setToolTip({});
    m_pathBox->show();
    m_filesBox->show();
    m_certificateBox->hide();
    setSnippets({}, path, base);
    m_show->setEnabled(true);
}

void ExportDetail::showRecord(const QString& title, const ExportRecord& record, double seconds,
                              const Holds& holds) {
    const QJsonObject& c = record.certificate;
    m_title->setText(title);
    m_explanation->hide();
    m_chip->show();
    if (record.passed())
        m_chip->set(tr("Verified by reloading"), "ok", "ok");
    else
        m_chip->set(tr("Not verified"), "err", "error");
    showPath(record.path);
    std::vector<Fact> files;
    for (const QJsonValue& file : c["files"].toArray())
        files.push_back({file["name"].toString(),
                         format::bytes(file["bytes"].toDouble()),
                         file["sha256"].toString().left(8),
                         {},
                         true,
                         {}});
    const bool hasHashes = !files.empty();
    m_files->set(std::move(files));
    m_filesNote->setText(seconds > 0 ? tr("written %1 in %2 s")
                                           .arg(record.written.toString("HH:mm:ss"))
                                           .arg(seconds, 0, 'f', 1)
                                     : tr("written %1").arg(format::moment(record.written)));
    m_filesNote->setToolTip(
        hasHashes ? tr("The last column is the beginning of each file's SHA-256.") : QString());
    const auto positions = c["tokens"].toInteger();
    const auto agreeing =
        std::llround(c["greedy_agreement"].toDouble() * static_cast<double>(positions));
    const bool isReal = c["probes_from"].toString() == "evaluation rows";
    m_certificateText->setText(isReal ? tr("Read back from the folder and run against the adapter "
                                           "as trained, on %n evaluation row(s).",
                                           nullptr, c["probes"].toInt())
                                      : tr("Read back from the folder and run against the adapter "
                                           "as trained, on %n row(s) of drawn tokens.",
                                           nullptr, c["probes"].toInt()));
    const Tokens& t = Theme::tokens();
    // The rule of core/export/exporter.h as it is applied: the difference may be what the format's
    // rounding does to this model, and the noise of sums.
    const auto isWithin = [&](const char* value, const char* limit) {
        return c[value].toDouble() <= c[limit].toDouble() ? t.ok : t.err;
    };
    std::vector<Fact> rows{
        {tr("Largest logit difference"),
         differenceText(c["max_abs_difference"].toDouble()),
         {},
         isWithin("max_abs_difference", "tolerance"),
         false,
         {}},
        {tr("Allowed"), differenceText(c["tolerance"].toDouble()), {}, {}, false, {}}};
    if (c.contains("rounding"))
        rows.push_back(
            {c["rounding"].toDouble() > 0 ? tr("Of it by the format's rounding") : tr("Rounding"),
             c["rounding"].toDouble() > 0 ? differenceText(c["rounding"].toDouble())
                                          : tr("none, it keeps every number"),
             {},
             {},
             false,
             {}});
    if (c.contains("merge_difference"))
        rows.push_back({tr("Merging alone, allowed %1").arg(differenceText(c["noise"].toDouble())),
                        differenceText(c["merge_difference"].toDouble()),
                        {},
                        isWithin("merge_difference", "noise"),
                        false,
                        {}});
    if (c.contains("max_weight_difference"))
        rows.push_back(
            {tr("Weights, allowed %1").arg(differenceText(c["weight_tolerance"].toDouble())),
             differenceText(c["max_weight_difference"].toDouble()),
             {},
             isWithin("max_weight_difference", "weight_tolerance"),
             false,
             {}});
    rows.push_back({tr("Mean KL divergence"),
                    tr("%1 nats").arg(differenceText(c["mean_kl"].toDouble())),
                    {},
                    {},
                    false,
                    {}});
    rows.push_back({tr("Same most probable token"),
                    tr("%1 of %2").arg(format::count(agreeing), format::count(positions)),
                    {},
                    agreeing == positions ? t.ok : t.warn,
                    false,
                    {}});
    if (c.contains("loss_before"))
        rows.push_back({tr("Loss, before and after"),
                        QStringLiteral("%1, %2")
                            .arg(c["loss_before"].toDouble(), 0, 'f', 4)
                            .arg(c["loss_after"].toDouble(), 0, 'f', 4),
                        {},
                        {},
                        false,
                        {}});
    m_certificate->set(std::move(rows));
    for (QWidget* box : {m_pathBox, m_filesBox, m_certificateBox}) box->show();
    setSnippets(holds, record.path, c["base_model"].toString());
    m_show->setEnabled(true);
}

void ExportDetail::setSnippets(const Holds& holds, const QString& path, const QString& base) {
    m_elsewhere = elsewhere(holds, path, base);
    QStringList tools;
    for (const Snippet& snippet : m_elsewhere.snippets) tools << snippet.tool;
    m_snippetBox->setVisible(!tools.isEmpty());
    m_try->setVisible(m_elsewhere.canTry);
    m_try->setEnabled(m_elsewhere.canTry);
    if (tools.isEmpty()) return;
    m_tabs->setItems(tools);
    m_limits->setText(m_elsewhere.limits);
    showSnippet(qBound(0, m_tabs->current(), static_cast<int>(tools.size()) - 1));
}

/// Set only when it changed: a selection in it must outlive the page's refresh.
void ExportDetail::showPath(const QString& path) {
    if (m_path->text() == path) return;
    m_path->setText(path);
    m_path->setToolTip(path);
    m_path->setCursorPosition(0);
}

void ExportDetail::showSnippet(int index) {
    const QString text = m_elsewhere.snippets.value(index).text;
    if (m_snippet->toPlainText() != text) m_snippet->setPlainText(text);
    qsizetype lines = 0;  // of the longest: the page below stays where it is when the tab changes
    for (const Snippet& snippet : m_elsewhere.snippets)
        lines = std::max(lines, snippet.text.count('\n'));
    m_snippet->setFixedHeight(px(17) * static_cast<int>(lines) + 28);
}

}  // namespace luthier::ui
