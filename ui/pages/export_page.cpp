// SPDX-License-Identifier: GPL-3.0-or-later
#include "pages/export_page.h"

#include "pages/export_card.h"
#include "pages/export_detail.h"
#include "settings/settings.h"
#include "theme/format.h"
#include "theme/icons.h"
#include "theme/theme.h"
#include "widgets/basics.h"
#include "widgets/fact_rows.h"
#include "widgets/icon_label.h"
#include "widgets/run_list.h"
#include "widgets/simple_table.h"

#include <QComboBox>
#include <QDesktopServices>
#include <QDir>
#include <QFileDialog>
#include <QFileInfo>
#include <QGridLayout>
#include <QLineEdit>
#include <QRegularExpression>
#include <QScrollArea>
#include <QSplitter>
#include <QStackedWidget>
#include <QUrl>
#include <QtConcurrentRun>

#include <cmath>

namespace luthier::ui {

namespace {

const char* const kRunFolder = "run";  ///< the card of what the run wrote itself

QStringList filesOf(const QString& folder) {
    return QDir(folder).entryList(QDir::Files, QDir::Size);
}

}  // namespace

ExportPage::ExportPage(Workbench& bench) : Page(bench) {
    m_stack = new QStackedWidget;
    m_empty = new EmptyState("export", tr("Nothing to export yet"),
                             tr("Every run that finishes leaves an adapter or a model here."),
                             tr("Open the demo"));
    auto* splitter = new QSplitter;
    auto* left = new QWidget;
    auto* leftColumn = makeColumn(0);
    m_listHead = new PaneHeader(tr("Adapters"));
    m_filter = new QLineEdit;
    m_filter->setPlaceholderText(tr("Filter"));
    m_filter->setAccessibleName(tr("Filter adapters"));
    m_filter->addAction(themedIcon("filter"), QLineEdit::LeadingPosition);
    m_filter->setClearButtonEnabled(true);
    auto* filterRow = makeRow(0);
    filterRow->setContentsMargins(16, 8, 16, 8);
    filterRow->addWidget(m_filter);
    m_list = new RunList(tr("Adapters"));
    leftColumn->addWidget(m_listHead);
    leftColumn->addWidget(makeRule());
    leftColumn->addLayout(filterRow);
    leftColumn->addWidget(makeRule());
    leftColumn->addWidget(m_list, 1);
    left->setLayout(leftColumn);
    left->setMinimumWidth(px(200));
    m_detail = new ExportDetail;
    m_detail->setMinimumWidth(px(320));
    splitter->addWidget(left);
    splitter->addWidget(buildCentre());
    splitter->addWidget(m_detail);
    splitter->setStretchFactor(1, 1);
    splitter->setSizes({px(240), px(640), px(372)});
    Settings::keepSplitter(splitter, "export");
    m_stack->addWidget(splitter);
    m_stack->addWidget(m_empty);
    auto* outer = makeColumn(0);
    outer->addWidget(m_stack);
    setLayout(outer);

    connect(m_empty, &EmptyState::triggered, this,
            [this] { m_bench.editAsNewRun(m_bench.demoConfig(), tr("the demo")); });
    connect(m_filter, &QLineEdit::textChanged, m_list, &RunList::setFilter);
    connect(m_list, &RunList::chosen, this, [this](const QString& id) {
        m_run = id;
        m_path.clear();
        showRun();
    });
    connect(m_detail, &ExportDetail::copied, this, [this] { m_bench.say(tr("Copied")); });
    connect(m_detail, &ExportDetail::showWanted, this,
            [this] { QDesktopServices::openUrl(QUrl::fromLocalFile(m_detail->path())); });
    connect(m_detail, &ExportDetail::tryWanted, &bench, &Workbench::openPlayground);
    connect(&m_reader, &QFutureWatcherBase::finished, this, [this] {
        m_records = m_reader.result();
        fill();
        if (m_readAgain) readRecords();
    });
    connect(&bench.runs, &RunLibrary::changed, this, [this] {
        if (isVisible()) fill();
    });
    connect(&bench, &Workbench::workspaceChanged, this, [this] { readRecords(); });
    connect(&Theme::instance(), &Theme::changed, this, &ExportPage::fill);
    loadFormats();
}

QWidget* ExportPage::buildCentre() {
    auto* centre = new QWidget;
    auto* column = makeColumn(0);
    auto* head = new QWidget;
    head->setFixedHeight(px(40));
    auto* row = makeRow(8);
    row->setContentsMargins(16, 0, 16, 0);
    m_name = new ElidedLabel({}, "strong");
    m_folder = new QComboBox;
    m_folder->setProperty("size", "24");
    m_folder->setAccessibleName(tr("Folder to export to"));
    m_folder->setMinimumWidth(px(150));
    row->addWidget(m_name, 1);
    row->addWidget(makeLabel(tr("to"), "body", "t2"));
    row->addWidget(m_folder);
    head->setLayout(row);
    column->addWidget(head);
    column->addWidget(makeRule());
    m_cardBox = new QWidget;
    auto* cardColumn = makeColumn(0);
    cardColumn->setContentsMargins(16, 16, 16, 16);
    m_grid = new QGridLayout;
    m_grid->setSpacing(16);
    m_grid->setContentsMargins(0, 0, 0, 0);
    auto* capped = makeRow(0);
    capped->addLayout(m_grid, 1000);
    capped->addStretch(1);
    cardColumn->addLayout(capped);
    cardColumn->addStretch(1);
    m_cardBox->setLayout(cardColumn);
    column->addWidget(makeScroll(m_cardBox), 1);
    column->addWidget(makeRule());
    column->addWidget(new PaneHeader(tr("Written so far")));
    m_written = new SimpleTable({tr("When"), tr("Format"), tr("Folder"), tr("Size"), tr("Check")},
                                {64, 140, 140, 84, 130}, 2);
    m_written->setAccessibleName(tr("Written so far"));
    m_written->setOptional({3, 0}, 110);
    m_writtenEmpty = makeLabel(tr("Exports of this adapter are listed here."), "body", "t2");
    m_writtenEmpty->setContentsMargins(16, 0, 16, 12);
    m_writtenEmpty->setAlignment(Qt::AlignTop | Qt::AlignLeft);
    auto* table = makeRow(0);
    table->setContentsMargins(8, 0, 8, 0);
    table->addWidget(m_written);
    column->addLayout(table);
    column->addWidget(m_writtenEmpty);
    column->addWidget(makeRule());
    auto* note = makeRow(8);
    note->setContentsMargins(16, 8, 16, 8);
    note->addWidget(new IconLabel("info", 16, [] { return Theme::tokens().t3; }));
    auto* words = makeLabel(tr("An export is written beside its target, checked, then renamed. A "
                               "failed export leaves nothing behind."),
                            "table", "t2");
    words->setWordWrap(true);
    note->addWidget(words, 1);
    column->addLayout(note);
    centre->setLayout(column);
    centre->setMinimumWidth(px(320));
    connect(m_folder, &QComboBox::activated, this, [this](int index) {
        if (m_folder->itemData(index).toString().isEmpty()) return chooseFolder();
        Settings::set("export/folder", m_folder->itemData(index));
        readRecords();
    });
    connect(m_written, &SimpleTable::selected, this, [this](const QString& path) {
        m_path = path;
        for (const ExportRecord& record : m_records)
            if (record.path == path)
                m_card = formatOf(record.format) ? formatOf(record.format)->format : record.format;
        showCards();
    });
    return centre;
}

void ExportPage::enter() {
    if (!m_hasFormats) loadFormats();
    readRecords();
    fill();
}

QString ExportPage::exportsFolder() const {
    const QString chosen = Settings::value("export/folder").toString();
    return chosen.isEmpty() || !QFileInfo(chosen).isDir() ? m_bench.workspace() + "/exports"
                                                          : chosen;
}

void ExportPage::chooseFolder() {
    const QString path =
        QFileDialog::getExistingDirectory(this, tr("Folder to export to"), exportsFolder());
    if (!path.isEmpty()) Settings::set("export/folder", path);
    readRecords();
    fill();
}

void ExportPage::readRecords() {
    m_readAgain = m_reader.isRunning();
    if (m_readAgain) return;
    m_reader.setFuture(
        QtConcurrent::run([folder = exportsFolder()] { return readExports(folder); }));
}

void ExportPage::loadFormats() {
    m_bench.heavy.request(
        "formats", {}, this,
        {[this](const QJsonValue& value) {
             m_formats.clear();
             for (const QJsonValue& each : value["formats"].toArray())
                 m_formats.push_back({each["format"].toString(), each["title"].toString(),
                                      each["summary"].toString(), each.toObject()});
             m_hasFormats = true;
             buildCards();
             fill();
         },
         [this](const ServeProblem& problem) {
             m_hasFormats = true;
             m_empty->set("error", tr("The engine does not answer"),
                          problem.message + " " + problem.hint, {}, true);
             m_stack->setCurrentIndex(1);
         },
         {}});
}

void ExportPage::buildCards() {
    for (ExportCard* card : m_cards) card->deleteLater();
    m_cards.clear();
    const auto add = [this](const QString& format, const QString& icon, const QString& title,
                            const QString& summary) {
        auto* card = new ExportCard(format, icon, title, summary);
        m_cards.push_back(card);
        connect(card, &ExportCard::chosen, this, [this, format] {
            if (m_card == format && m_path.isEmpty()) return;
            m_card = format;
            m_path.clear();
            showCards();
        });
        connect(card, &ExportCard::exportWanted, this, [this, format] { write(m_run, format); });
        connect(card, &ExportCard::cancelWanted, this, [this, format] {
            if (m_waiting.removeOne(QPair{m_run, format})) return showCards();
            m_bench.heavy.cancel(m_request);
        });
        connect(card, &ExportCard::showWanted, this, [this, format] {
            m_card = format;
            showCards();
            QDesktopServices::openUrl(QUrl::fromLocalFile(m_detail->path()));
        });
    };
    add(QLatin1String(kRunFolder), "runs", tr("As the run left it"),
        tr("The folder that training wrote"));
    for (const Format& each : m_formats)
        add(each.format, each.facts["icon"].toString(), each.title, each.summary);
    layOutCards();
}

void ExportPage::layOutCards() {
    const int columns = m_cardBox->width() >= px(1100) ? 3 : m_cardBox->width() >= px(540) ? 2 : 1;
    for (ExportCard* card : m_cards) m_grid->removeWidget(card);
    for (std::size_t i = 0; i < m_cards.size(); ++i) {
        m_grid->addWidget(m_cards[i], static_cast<int>(i) / columns, static_cast<int>(i) % columns);
        m_cards[i]->setMaximumWidth(px(520));
    }
    for (int i = 0; i < 3; ++i) m_grid->setColumnStretch(i, i < columns ? 1 : 0);
}

void ExportPage::resizeEvent(QResizeEvent* event) {
    Page::resizeEvent(event);
    QMetaObject::invokeMethod(this, &ExportPage::layOutCards, Qt::QueuedConnection);
}

const ExportPage::Format* ExportPage::formatOf(const QString& name) const {
    for (const Format& each : m_formats)
        if (each.format == name || each.facts["former_names"].toArray().contains(name))
            return &each;
    return nullptr;
}

QString ExportPage::cardTitle(const QString& format) const {
    if (format == QLatin1String(kRunFolder)) return tr("As the run left it");
    const Format* known = formatOf(format);
    return known ? known->title : format;
}

const ExportRecord* ExportPage::recordOf(const QString& run, const QString& format) const {
    const Format* wanted = formatOf(format);
    for (const ExportRecord& record : m_records)
        if (record.run == run && wanted && formatOf(record.format) == wanted &&
            (m_path.isEmpty() || record.path == m_path || format != m_card))
            return &record;
    return nullptr;
}

void ExportPage::fill() {
    if (!m_hasFormats) return;
    std::vector<RunListEntry> entries;
    for (const RunInfo& run : m_bench.runs.runs()) {
        if (!run.hasAdapter && !run.hasFullModel) continue;
        QStringList note{methodTitle(run.method)};
        if (!std::isnan(run.bestEval)) note << format::loss(run.bestEval);
        if (!std::isnan(run.adapterBytes)) note << format::bytes(run.adapterBytes);
        const bool isExported = std::any_of(
            m_records.begin(), m_records.end(),
            [&](const ExportRecord& record) { return record.run == run.id && record.passed(); });
        entries.push_back(
            {run.id, run.name, note.join(", "), Theme::instance().runColor(run.color), isExported});
    }
    if (m_bench.runs.isLoaded()) m_stack->setCurrentIndex(entries.empty() ? 1 : 0);
    m_listHead->setTitle(tr("Adapters  %1").arg(entries.size()));
    m_list->setEntries(entries);
    const bool isKnown = std::any_of(entries.begin(), entries.end(),
                                     [&](const RunListEntry& entry) { return entry.id == m_run; });
    if (!isKnown) m_run = entries.empty() ? QString() : entries.front().id;
    {
        const QSignalBlocker block(m_list);
        m_list->select(m_run);
    }
    const QString folder = exportsFolder();
    const QString standard = m_bench.workspace() + "/exports";
    // fill() comes every few seconds: what the user may be holding is left alone.
    if (m_folder->currentData().toString() != folder ||
        m_folder->itemData(0).toString() != standard) {
        m_folder->clear();
        m_folder->addItem(themedIcon("folder"), "exports", standard);
        if (folder != standard)
            m_folder->addItem(themedIcon("folder"), QFileInfo(folder).fileName(), folder);
        m_folder->addItem(tr("Other folder…"), QString());
        m_folder->setCurrentIndex(m_folder->findData(folder));
    }
    m_folder->setToolTip(folder);
    showRun();
}

void ExportPage::select(const QString& runId) {
    m_run = runId;
    m_path.clear();
    fill();
}

void ExportPage::showRun() {
    const RunInfo* run = m_bench.runs.find(m_run);
    if (!run) return;
    m_name->setWhole(run->name + QStringLiteral("   ") +
                     tr("%1 on %2").arg(run->methodWords(), run->modelName()));
    std::vector<TableRow> rows;
    for (const ExportRecord& record : m_records) {
        if (record.run != m_run) continue;
        TableCell size{format::bytes(record.bytes)},
            check{record.passed() ? record.difference() == 0
                                        ? tr("bit for bit")
                                        : tr("within %1").arg(differenceText(record.allowed()))
                                  : tr("differs")};
        size.isRight = true;
        size.sortKey = record.bytes;
        check.icon = record.passed() ? "ok" : "error";
        check.color = record.passed() ? Theme::tokens().ok : Theme::tokens().err;
        TableCell when{format::moment(record.written)};
        when.sortKey = record.written;
        rows.push_back(
            {record.path,
             {when, {cardTitle(record.format)}, {QFileInfo(record.path).fileName()}, size, check}});
    }
    m_written->setVisible(!rows.empty());
    m_writtenEmpty->setVisible(rows.empty());
    m_written->setRows(std::move(rows));
    m_written->setFixedHeight(
        px(28) + std::clamp(m_written->rows()->rowCount(), 1, 5) * Theme::instance().rowHeight() +
        8);
    if (m_card.isEmpty()) {
        m_card = QLatin1String(kRunFolder);
        for (const Format& each : m_formats)
            if (run->hasAdapter && each.has("default")) m_card = each.format;
    }
    showCards();
}

QString ExportPage::whyNot(const RunInfo& run, const Format& format) const {
    const MethodInfo& method = methodFacts(run.method);
    if (method.leavesModel)
        return format.has("takes_models")
                   ? QString()
                   : tr("%1 trains the base weights, so its result is a whole model and no "
                        "adapter. "
                        "The folder that the run left is in Hugging Face format already.")
                         .arg(method.title);
    if (format.has("gguf_adapter") && !method.hasGguf)
        return tr("llama.cpp adapters hold LoRA only, and this is %1. The GGUF model has it folded "
                  "in.")
            .arg(method.title);
    for (const QJsonValue& refused : format.facts["refused"].toArray())
        if (run.config["method"].toObject()[refused[0].toString()].toBool())
            return refused[1].toString();
    // Methods that the engine does not name any more are left to it.
    if (format.has("folds") && !method.mergeable && m_bench.catalogue.method(run.method))
        return tr("%1 adds to what the model reads, not to its weights; there is nothing that "
                  "could "
                  "be folded into them.")
            .arg(method.title);
    return {};
}

void ExportPage::showCards() {
    const RunInfo* run = m_bench.runs.find(m_run);
    if (!run) return;
    const QString own = run->folder + (run->hasFullModel ? "/model" : "/adapter");
    for (ExportCard* card : m_cards) {
        const QString format = card->format();
        const QString key = m_run + "/" + format;
        std::vector<Fact> files;
        const auto fact = [&](const QString& name, double bytes) {
            files.push_back({name, bytes > 0 ? format::bytes(bytes) : QString(), {}, {}, true, {}});
        };
        card->setNote({});
        if (format == QLatin1String(kRunFolder)) {
            for (const QString& name : filesOf(own).mid(0, 4))
                fact(name, static_cast<double>(QFileInfo(own + "/" + name).size()));
            card->setState(ExportCard::State::ByTheRun);
            card->setNote(tr("not compared yet"));
        } else if (const QString reason = whyNot(*run, *formatOf(format)); !reason.isEmpty()) {
            card->setState(ExportCard::State::NotAvailable, reason);
        } else if (m_request && m_writingRun == m_run && m_writingFormat == format) {
            card->setState(ExportCard::State::Writing, m_phase);
            card->setProgress(m_phase, m_done, m_total);
        } else if (m_waiting.contains(QPair{m_run, format})) {
            card->setState(ExportCard::State::Writing, tr("waits for the export before it"));
            card->setProgress(tr("waits for the export before it"), 0, 1);
        } else if (m_failures.contains(key)) {
            card->setState(ExportCard::State::Failed, m_failures[key]);
        } else if (const ExportRecord* record = recordOf(m_run, format)) {
            std::vector<std::pair<double, QString>> written;
            for (const QJsonValue& file : record->certificate["files"].toArray())
                written.emplace_back(file["bytes"].toDouble(), file["name"].toString());
            std::sort(written.rbegin(), written.rend());
            if (written.size() > 4) written.resize(4);
            for (const auto& [bytes, name] : written) fact(name, bytes);
            card->setState(record->passed() ? ExportCard::State::Verified
                                            : ExportCard::State::Failed);
        } else {
            for (const QJsonValue& file : formatOf(format)->facts["files"].toArray()) {
                const QString name = file["name"].toString();
                const QString size = file["size"].toString();
                const bool isKnown = run->total > 0 && run->trainable >= 0;
                fact(name.isEmpty() ? methodFacts(run->method).tensorFile : name,
                     size == "adapter" ? run->adapterBytes
                     : size == "model" && isKnown
                         ? static_cast<double>(run->total - run->trainable) * 4
                         : 0);
            }
            card->setState(ExportCard::State::Ready);
        }
        card->setFiles(files);
        card->setSelected(format == m_card);
    }
    showDetail();
}

Holds ExportPage::holdsOf(const QString& format) const {
    Holds holds;
    if (const Format* known = formatOf(format)) holds.what = known->facts["holds"].toString();
    for (const Format& each : m_formats)
        if (each.has("takes_models")) holds.modelFormat = each.format;
    return holds;
}

void ExportPage::showDetail() {
    const RunInfo* run = m_bench.runs.find(m_run);
    if (!run) return;
    const QString title = cardTitle(m_card);
    if (m_card == QLatin1String(kRunFolder)) {
        const QString own = run->folder + (run->hasFullModel ? "/model" : "/adapter");
        return m_detail->showFolder(title, own,
                                    tr("Loads in the same tools as an export, but nothing has read "
                                       "it back and compared it yet."),
                                    filesOf(own), run->modelPath);
    }
    if (m_request && m_writingRun == m_run && m_writingFormat == m_card)
        return m_detail->showPlan(title, tr("It is being written. The badge comes only after it "
                                            "has been read back and compared."));
    if (const ExportRecord* record = recordOf(m_run, m_card))
        return m_detail->showRecord(title, *record, m_seconds.value(record->path, 0),
                                    holdsOf(record->format));
    QString summary;
    if (const Format* format = formatOf(m_card)) summary = format->summary;
    m_detail->showPlan(
        title, summary + ". " +
                   tr("After writing, Luthier opens the files again, runs them on rows that the "
                      "run kept back, and compares every logit with the trained adapter."));
}

void ExportPage::write(const QString& runId, const QString& format) {
    const QPair wanted{runId, format};
    if (m_waiting.contains(wanted) ||
        (m_request && m_writingRun == runId && m_writingFormat == format))
        return;
    m_card = format;
    m_path.clear();
    m_failures.remove(runId + "/" + format);
    m_waiting << wanted;
    writeNext();
    showCards();
}

void ExportPage::writeNext() {
    if (m_request || m_waiting.isEmpty()) return;
    const auto [runId, format] = m_waiting.takeFirst();
    const RunInfo* run = m_bench.runs.find(runId);
    if (!run) return writeNext();
    const QString folder = exportsFolder();
    QDir().mkpath(folder);
    const QString stem = folder + "/" +
                         QString(run->name).replace(QRegularExpression("[^A-Za-z0-9._-]+"), "-") +
                         "-" + format;
    QString out = stem;
    for (int i = 2; QFileInfo::exists(out); ++i) out = stem + "-" + QString::number(i);
    m_writingRun = runId;
    m_writingFormat = format;
    m_phase = tr("waiting for the engine");
    m_done = 0;
    m_total = 1;
    const QString key = runId + "/" + format, name = run->name;
    m_request = m_bench.heavy.request(
        "export", {{"source", run->folder}, {"format", format}, {"out", out}}, this,
        {[this, name](const QJsonValue& value) {
             m_request = 0;
             Settings::set("firstSteps/exported", true);
             m_seconds[QFileInfo(value["path"].toString()).absoluteFilePath()] =
                 value["seconds"].toDouble();
             readRecords();
             writeNext();
             m_bench.say(tr("%1 exported and verified").arg(name), tr("Open"),
                         [this] { m_bench.goTo(PageId::Export); });
         },
         [this, key](const ServeProblem& problem) {
             m_request = 0;
             if (problem.code != "cancelled")
                 m_failures[key] =
                     problem.message + (problem.hint.isEmpty() ? QString() : " " + problem.hint);
             writeNext();
             showCards();
             if (problem.code == "cancelled")
                 m_bench.say(tr("The export was cancelled; nothing was left behind"), {}, {},
                             "note");
         },
         [this](const QJsonObject& event) {
             m_phase = event["name"].toString();
             m_done = event["done"].toInt();
             m_total = event["total"].toInt();
             for (ExportCard* card : m_cards)
                 if (card->format() == m_writingFormat && m_run == m_writingRun)
                     card->setProgress(m_phase, m_done, m_total);
         }});
    showCards();
}

bool ExportPage::perform(PageCommand command) {
    if (command == PageCommand::Stop && m_request) {
        m_bench.heavy.cancel(m_request);
        return true;
    }
    if (command != PageCommand::Start || m_card == QLatin1String(kRunFolder)) return false;
    for (const ExportCard* card : m_cards)
        if (card->format() == m_card && card->state() != ExportCard::State::NotAvailable) {
            write(m_run, m_card);
            return true;
        }
    return false;
}

}  // namespace luthier::ui
