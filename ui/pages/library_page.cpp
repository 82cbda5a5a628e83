// SPDX-License-Identifier: GPL-3.0-or-later
#include "pages/library_page.h"

#include "pages/library_detail.h"
#include "settings/settings.h"
#include "settings/undo.h"
#include "theme/format.h"
#include "theme/icons.h"
#include "theme/theme.h"
#include "widgets/basics.h"
#include "widgets/controls.h"
#include "widgets/drop_area.h"
#include "widgets/simple_table.h"

#include <QDragEnterEvent>
#include <QFileDialog>
#include <QFileInfo>
#include <QInputDialog>
#include <QLineEdit>
#include <QMenu>
#include <QMimeData>
#include <QRegularExpression>
#include <QScrollArea>
#include <QSplitter>

#include <cmath>
#include <utility>

namespace luthier::ui {

namespace {

TableCell number(const QString& text, const QVariant& key) {
    TableCell cell{text};
    cell.isRight = true;
    cell.sortKey = key;
    return cell;
}

TableCell problemCell(const QJsonObject& entry) {
    QString words = entry["problems"].toArray().isEmpty()
                        ? QString()
                        : entry["problems"].toArray().first()["message"].toString();
    if (words.isEmpty() && entry.contains("can_train") && !entry["can_train"].toBool())
        words = entry["reason"].toString();
    // The row names the file already: its path would only push the words out of sight.
    const QString path = entry["path"].toString();
    TableCell cell{QString(words)
                       .replace(path + "/", QString())
                       .replace("In " + path + ", ", QString())
                       .replace(path + " ", QString())};
    cell.note = {};
    if (!words.isEmpty()) {
        cell.icon = "error";
        cell.color = Theme::tokens().err;
    }
    return cell;
}

QString typesOf(const QJsonObject& model) {
    const QJsonObject dtypes = model["dtypes"].toObject();
    QString largest;
    for (const QString& key : dtypes.keys())
        if (largest.isEmpty() || dtypes[key].toDouble() > dtypes[largest].toDouble()) largest = key;
    return largest.isEmpty() ? QStringLiteral("–") : dtypes.size() > 1 ? largest + "+" : largest;
}

QString familyWords(const QJsonObject& model) {
    const QString word = model["family"].toString();
    return word.isEmpty() ? QStringLiteral("–") : model["family_title"].toString(word);
}

bool fits(const QString& filter, std::initializer_list<QString> words) {
    if (filter.isEmpty()) return true;
    for (const QString& word : words)
        if (word.contains(filter, Qt::CaseInsensitive)) return true;
    return false;
}

}  // namespace

LibraryPage::LibraryPage(Workbench& bench) : Page(bench) {
    setAcceptDrops(true);
    auto* splitter = new QSplitter;
    auto* left = new QWidget;
    left->setMinimumWidth(px(560));
    auto* column = makeColumn(0);
    auto* head = makeRow(8);
    head->setContentsMargins(16, 10, 16, 10);
    m_view = new SegmentedControl({tr("All"), tr("Models"), tr("Datasets"), tr("Adapters")}, 28);
    m_view->setAccessibleName(tr("What is listed"));
    m_filter = new QLineEdit;
    m_filter->setPlaceholderText(tr("Filter by name or family"));
    m_filter->setAccessibleName(m_filter->placeholderText());
    m_filter->addAction(themedIcon("filter"), QLineEdit::LeadingPosition);
    m_filter->setClearButtonEnabled(true);
    m_filter->setMinimumWidth(px(110));
    m_filter->setMaximumWidth(px(240));
    m_watched = new ElidedLabel({}, "table", "t2");
    m_watched->setAlignment(Qt::AlignRight | Qt::AlignVCenter);
    auto* addFolder = makeButton(tr("Add folder…"), "plain", 28, "folder");
    head->addWidget(m_view);
    head->addWidget(m_filter, 1);
    head->addWidget(m_watched, 1);
    head->addWidget(addFolder);
    column->addLayout(head);
    column->addWidget(makeRule());
    m_banner = new Banner;
    auto* bannerRow = makeRow(0);
    bannerRow->setContentsMargins(16, 0, 16, 0);
    bannerRow->addWidget(m_banner);
    column->addLayout(bannerRow);
    auto* lists = new QWidget;
    auto* listColumn = makeColumn(0);
    listColumn->setContentsMargins(8, 8, 8, 8);
    const QString titles[] = {tr("Models"), tr("Datasets"), tr("Adapters")};
    const QString nothing[] = {
        tr("No model yet. Drop a folder with config.json and safetensors files, or a GGUF file."),
        tr("No data yet. Drop a JSON lines, JSON, CSV, Parquet, Arrow or text file."),
        tr("No adapter yet. Every finished run leaves one.")};
    m_tables[Models] =
        new SimpleTable({tr("Model"), tr("Family"), tr("Parameters"), tr("Type"), tr("Layers"),
                         tr("Context"), tr("On disk"), tr("Template"), tr("Problems")},
                        {200, 70, 86, 52, 58, 70, 82, 70, 150}, 8);
    m_tables[Datasets] = new SimpleTable(
        {tr("Dataset"), tr("Format"), tr("Rows"), tr("Columns"), tr("On disk"), tr("Problems")},
        {200, 160, 92, 160, 82, 150}, 5);
    m_tables[Adapters] = new SimpleTable(
        {tr("Adapter"), tr("Method"), tr("Base"), tr("Best evaluation"), tr("Size"), tr("Made")},
        {200, 190, 120, 110, 84, 96}, 0);
    m_tables[Models]->setOptional({3, 4, 7, 5, 1}, 150);
    m_tables[Datasets]->setOptional({3, 4, 2}, 150);
    m_tables[Adapters]->setOptional({5, 2, 4});
    for (int kind = 0; kind < Kinds; ++kind) {
        m_boxes[kind] = new QWidget;
        auto* box = makeColumn(0);
        box->setContentsMargins(0, 0, 0, 12);
        auto* title = makeRow(8);
        title->setContentsMargins(8, 8, 8, 6);
        m_counts[kind] = makeLabel({}, "table", "t2");
        title->addWidget(makeLabel(titles[kind], "strong"));
        title->addWidget(m_counts[kind]);
        title->addStretch(1);
        box->addLayout(title);
        m_tables[kind]->setGrowing();
        m_tables[kind]->setAccessibleName(titles[kind]);
        m_tables[kind]->setSortable();
        m_empties[kind] = makeLabel(nothing[kind], "body", "t2");
        m_empties[kind]->setContentsMargins(8, 4, 8, 8);
        m_empties[kind]->setWordWrap(true);
        box->addWidget(m_tables[kind]);
        box->addWidget(m_empties[kind]);
        m_boxes[kind]->setLayout(box);
        listColumn->addWidget(m_boxes[kind]);
        connect(m_tables[kind], &SimpleTable::selected, this,
                [this, kind](const QString& id) { choose(static_cast<Kind>(kind), id); });
    }
    listColumn->addStretch(1);
    lists->setLayout(listColumn);
    column->addWidget(makeScroll(lists), 1);
    column->addWidget(makeRule());
    auto* dropRow = makeRow(0);
    dropRow->setContentsMargins(16, 12, 16, 12);
    m_drop = new DropArea(tr("Drop a model, a data file or an adapter here"),
                          tr("Files stay where they are. Models and adapters in safetensors or "
                             "GGUF; data as JSON lines, JSON, CSV, Parquet, Arrow or text."),
                          tr("Choose…"));
    dropRow->addWidget(m_drop);
    column->addLayout(dropRow);
    left->setLayout(column);
    m_detail = new LibraryDetail(bench);
    splitter->addWidget(left);
    splitter->addWidget(m_detail);
    splitter->setStretchFactor(0, 1);
    splitter->setSizes({px(860), px(352)});
    Settings::keepSplitter(splitter, "library");
    auto* outer = makeColumn(0);
    outer->addWidget(splitter);
    setLayout(outer);

    connect(addFolder, &QPushButton::clicked, this, &LibraryPage::chooseFolder);
    connect(m_drop->button(), &QPushButton::clicked, this, [this] {
        QMenu menu(this);
        menu.addAction(themedIcon("folder"), tr("A folder…"), this, &LibraryPage::chooseFolder);
        menu.addAction(themedIcon("data"), tr("A data file…"), this, [this] {
            const QString path =
                QFileDialog::getOpenFileName(this, tr("Data"), {}, dataFileFilter());
            if (!path.isEmpty()) add(path);
        });
        menu.addAction(themedIcon("cube"), tr("A GGUF file…"), this, [this] {
            const QString path = QFileDialog::getOpenFileName(this, tr("GGUF model or adapter"), {},
                                                              tr("GGUF (*.gguf);;All files (*)"));
            if (!path.isEmpty()) add(path);
        });
        menu.exec(m_drop->button()->mapToGlobal(QPoint(0, m_drop->button()->height() + 2)));
    });
    connect(m_view, &SegmentedControl::changed, this, &LibraryPage::fill);
    connect(m_filter, &QLineEdit::textChanged, this, &LibraryPage::fill);
    connect(m_banner, &Banner::triggered, this, [this] {
        if (m_import) return m_bench.heavy.cancel(m_import);
        m_banner->hide();
    });
    connect(m_detail, &LibraryDetail::forgetWanted, this, &LibraryPage::forget);
    connect(m_tables[Models], &SimpleTable::activatedRow, this,
            [this](const QString& path) { m_bench.openPlayground(path, {}); });
    connect(m_tables[Datasets], &SimpleTable::activatedRow, &bench, &Workbench::openData);
    connect(m_tables[Adapters], &SimpleTable::activatedRow, &bench, &Workbench::openRun);
    connect(&bench.catalogue, &Catalogue::modelsChanged, this, &LibraryPage::fill);
    connect(&bench.catalogue, &Catalogue::methodsChanged, this, &LibraryPage::showChosen);
    connect(&bench.runs, &RunLibrary::changed, this, &LibraryPage::fill);
    connect(&Theme::instance(), &Theme::changed, this, [this] {
        fill();
        showChosen();
    });
    fill();
}

bool LibraryPage::isSettled() const {
    return m_bench.catalogue.modelsLoaded() && m_bench.catalogue.methodsLoaded() &&
           m_bench.runs.isLoaded() && m_isShown;
}

void LibraryPage::fill() {
    fillTables();
    if (m_awaited.second.isEmpty() || m_tables[m_awaited.first]->rows()->find(m_awaited.second) < 0)
        return;
    const auto [kind, id] = std::exchange(m_awaited, {Models, {}});
    choose(kind, id);
}

void LibraryPage::fillTables() {
    const QString filter = m_filter->text().trimmed();
    fillModels(filter);
    fillDatasets(filter);
    fillAdapters(filter);
    for (int kind = 0; kind < Kinds; ++kind) {
        const int rows = m_tables[kind]->rows()->rowCount();
        m_counts[kind]->setText(QString::number(rows));
        m_tables[kind]->setVisible(rows > 0);
        m_empties[kind]->setVisible(rows == 0);
        if (!filter.isEmpty() && rows == 0)
            m_empties[kind]->setText(tr("Nothing here fits \"%1\".").arg(filter));
        // "All" shows what can be trained; adapters have their own view.
        m_boxes[kind]->setVisible(m_view->current() == 0 ? kind != Adapters
                                                         : m_view->current() == kind + 1);
    }
    m_view->setItems({tr("All"), tr("Models %1").arg(m_tables[Models]->rows()->rowCount()),
                      tr("Datasets %1").arg(m_tables[Datasets]->rows()->rowCount()),
                      tr("Adapters %1").arg(m_tables[Adapters]->rows()->rowCount())});
    double bytes = 0;
    for (const QJsonObject& model : m_bench.catalogue.models()) bytes += model["bytes"].toDouble();
    for (const QJsonObject& dataset : m_bench.catalogue.datasets())
        bytes += dataset["bytes"].toDouble();
    static_cast<ElidedLabel*>(m_watched)->setWhole(
        tr("%n folder(s) watched, %1", nullptr,
           static_cast<int>(m_bench.catalogue.folders().size()))
            .arg(format::bytes(bytes)));
    m_watched->setToolTip(m_bench.catalogue.folders().join("\n"));
    if (m_chosen.isEmpty()) {
        for (const QJsonObject& model : m_bench.catalogue.models())
            if (m_chosen.isEmpty() && model["can_train"].toBool())
                choose(Models, model["path"].toString());
        if (m_chosen.isEmpty() && m_tables[Models]->rows()->rowCount() > 0)
            choose(Models, m_tables[Models]->rows()->row(0).id);
    } else if (!m_chosen.isEmpty())
        m_tables[m_kind]->select(m_chosen);
}

void LibraryPage::fillModels(const QString& filter) {
    std::vector<TableRow> rows;
    for (const QJsonObject& m : m_bench.catalogue.models()) {
        if (!fits(filter, {m_bench.modelName(m["path"].toString()), m["family"].toString(),
                           m["family_title"].toString(), m["path"].toString()}))
            continue;
        TableCell name{m_bench.modelName(m["path"].toString())}, chat;
        name.avatar = m["family"].toString(m["name"].toString()).left(1).toUpper();
        if (name.avatar.isEmpty()) name.avatar = "?";
        name.isStrong = true;
        const bool hasChat = m["chat_template"].toBool();
        chat.text = hasChat ? QString() : QStringLiteral("–");
        if (hasChat) {
            chat.icon = "check";
            chat.color = Theme::tokens().ok;
        }
        const auto known = [&](const char* key, const QString& text) {
            return number(m.contains(QLatin1String(key)) ? text : QStringLiteral("–"),
                          m[QLatin1String(key)].toDouble());
        };
        rows.push_back({m["path"].toString(),
                        {name,
                         {familyWords(m)},
                         known("parameters", format::shortCount(m["parameters"].toDouble())),
                         {typesOf(m)},
                         known("layers", QString::number(m["layers"].toInt())),
                         known("context", format::count(m["context"].toInteger())),
                         known("bytes", format::bytes(m["bytes"].toDouble())),
                         chat,
                         problemCell(m)}});
    }
    m_tables[Models]->setRows(std::move(rows));
}

void LibraryPage::fillDatasets(const QString& filter) {
    std::vector<TableRow> rows;
    for (const QJsonObject& d : m_bench.catalogue.datasets()) {
        const QString path = d["path"].toString();
        if (!fits(filter, {path, d["format"].toString()})) continue;
        TableCell name{QFileInfo(path).completeBaseName()};
        name.isStrong = true;
        name.note = QFileInfo(path).fileName();
        QStringList columns;
        for (const QJsonValue& column : d["columns"].toArray()) columns << column.toString();
        const bool isKnown = d["kind"].toString() == "dataset";
        QString format = d["format"].toString().replace('_', ' ');
        if (!format.isEmpty()) format[0] = format[0].toUpper();
        rows.push_back(
            {path,
             {name,
              {isKnown ? format.isEmpty() ? tr("Not recognised") : format : tr("reading…")},
              number(d["rows"].toInteger() > 0 ? format::count(d["rows"].toInteger())
                                               : QStringLiteral("–"),
                     d["rows"].toDouble()),
              {columns.join(", ")},
              number(
                  d.contains("bytes") ? format::bytes(d["bytes"].toDouble()) : QStringLiteral("–"),
                  d["bytes"].toDouble()),
              problemCell(d)}});
    }
    m_tables[Datasets]->setRows(std::move(rows));
}

void LibraryPage::fillAdapters(const QString& filter) {
    std::vector<TableRow> rows;
    for (const RunInfo& run : m_bench.runs.runs()) {
        if (!run.hasAdapter && !run.hasFullModel) continue;
        if (!fits(filter, {run.name, run.methodWords(), run.modelName()})) continue;
        TableCell name{run.name}, when{format::moment(run.created)};
        name.sample = Theme::instance().runColor(run.color);
        name.dash = Theme::instance().runDash(run.color);
        name.isStrong = true;
        when.isRight = true;
        when.sortKey = run.created;
        rows.push_back({run.id,
                        {name,
                         {run.methodWords()},
                         {run.modelName()},
                         number(format::loss(run.bestEval), run.bestEval),
                         number(std::isnan(run.adapterBytes) ? QStringLiteral("–")
                                                             : format::bytes(run.adapterBytes),
                                run.adapterBytes),
                         when}});
    }
    m_tables[Adapters]->setRows(std::move(rows));
}

void LibraryPage::choose(Kind kind, const QString& id) {
    if (kind == m_kind && id == m_chosen) return;
    m_kind = kind;
    m_chosen = id;
    for (int other = 0; other < Kinds; ++other)
        if (other != kind) {
            const QSignalBlocker block(m_tables[other]->selectionModel());
            m_tables[other]->clearSelection();
            m_tables[other]->setCurrentIndex({});
            m_tables[other]->viewport()->update();
        }
    m_tables[kind]->select(id);
    showChosen();
}

void LibraryPage::showChosen() {
    if (m_chosen.isEmpty()) return;
    if (m_kind == Models)
        for (const QJsonObject& model : m_bench.catalogue.models())
            if (model["path"].toString() == m_chosen) m_detail->showModel(model);
    if (m_kind == Datasets)
        for (const QJsonObject& dataset : m_bench.catalogue.datasets())
            if (dataset["path"].toString() == m_chosen) m_detail->showDataset(dataset);
    if (m_kind == Adapters)
        if (const RunInfo* run = m_bench.runs.find(m_chosen)) m_detail->showAdapter(*run);
    m_isShown = true;
}

void LibraryPage::chooseFolder() {
    const QString path = QFileDialog::getExistingDirectory(this, tr("Folder with models or data"));
    if (!path.isEmpty()) add(path);
}

void LibraryPage::setFolders(const QStringList& folders) {
    Settings::set("library/folders", folders);
    m_bench.refreshFolders();
    m_bench.catalogue.refreshModels();
}

void LibraryPage::add(const QString& path) {
    if (m_import)
        return m_bench.say(
            tr("One model is being brought in; add %1 after it").arg(QFileInfo(path).fileName()),
            {}, {}, "note");
    m_banner->hide();
    const auto take = [this, path] {
        const QStringList before = Settings::value("library/folders").toStringList();
        if (before.contains(path))
            return m_bench.say(tr("%1 is on the list already").arg(QFileInfo(path).fileName()), {},
                               {}, "note");
        const QStringList after = before + QStringList{path};
        setFolders(after);
        recordStep(
            m_bench.undo, tr("add %1").arg(QFileInfo(path).fileName()),
            [this, after] { setFolders(after); }, [this, before] { setFolders(before); });
        m_bench.say(tr("%1 added").arg(QFileInfo(path).fileName()), tr("Undo"),
                    [this] { m_bench.undo.undo(); });
    };
    const QFileInfo info(path);
    const bool isFolderOfThings = info.isDir() && !QFileInfo::exists(path + "/config.json") &&
                                  !QFileInfo::exists(path + "/adapter_config.json");
    if (isFolderOfThings) return take();
    // A single thing is looked at first: what cannot be read is told here instead of being listed.
    m_bench.catalogue.inspect(
        path, this,
        [this, take, path](const QJsonObject& value) {
            if (value["kind"].toString() == "adapter") {
                const QString base = value["base"].toString();
                if (!value["problems"].toArray().isEmpty())
                    return m_banner->show(
                        "err",
                        value["problems"].toArray().first()["message"].toString() + " " +
                            value["problems"].toArray().first()["hint"].toString(),
                        tr("Close"));
                QString model = QFileInfo(base).isDir() ? base : QString();
                for (const QJsonObject& each : m_bench.catalogue.models())
                    if (model.isEmpty() &&
                        (each["name"].toString() == QFileInfo(base).fileName() || base.isEmpty()))
                        model = each["path"].toString();
                if (model.isEmpty())
                    return m_banner->show(
                        "warn",
                        tr("This adapter was made for %1, which is not in the library. Add that "
                           "model, then drop the adapter again.")
                            .arg(base),
                        tr("Close"));
                return m_bench.openPlayground(model, path);
            }
            if (value["kind"].toString() == "gguf") return takeGguf(path, value);
            m_awaited = {value["kind"].toString() == "dataset" ? Datasets : Models, path};
            take();
            fill();  // it may be listed already
            const QJsonArray problems = value["problems"].toArray();
            if (!problems.isEmpty())
                m_banner->show(
                    "warn",
                    tr("%1 is listed, but: %2")
                        .arg(QFileInfo(path).fileName(), problems.first()["message"].toString()),
                    tr("Close"));
        },
        [this](const ServeProblem& problem) {
            m_banner->show("err", problem.message + " " + problem.hint, tr("Close"));
        });
}

void LibraryPage::takeGguf(const QString& path, const QJsonObject& facts) {
    const QString name = QFileInfo(path).completeBaseName();
    if (facts["type"].toString() != "model") {
        // The file does not name its base.
        QStringList names, paths;
        for (const QJsonObject& model : m_bench.catalogue.models())
            if (model["can_train"].toBool()) {
                names << m_bench.modelName(model["path"].toString());
                paths << model["path"].toString();
            }
        if (names.isEmpty())
            return m_banner->show(
                "warn",
                tr("%1 is an adapter. Add the model it was trained on, then drop it again.")
                    .arg(name),
                tr("Close"));
        bool isChosen = names.size() == 1;
        const QString chosen =
            isChosen ? names.first()
                     : QInputDialog::getItem(this, tr("Adapter"),
                                             tr("The model that %1 was trained on").arg(name),
                                             names, 0, false, &isChosen);
        if (isChosen) m_bench.openPlayground(paths.at(names.indexOf(chosen)), path);
        return;
    }
    const QString stem = m_bench.workspace() + "/models/" +
                         QString(name).replace(QRegularExpression("[^A-Za-z0-9._-]+"), "-");
    QString out = stem;
    for (int i = 2; QFileInfo::exists(out); ++i) out = stem + "-" + QString::number(i);
    const auto told = [this, name](const QString& phase, int done, int total) {
        m_banner->show("note",
                       tr("Making a folder of %1 that Luthier can train: %2 (%3 of %4)")
                           .arg(name, phase)
                           .arg(done)
                           .arg(total),
                       tr("Cancel"));
    };
    told(tr("waiting for the engine"), 0, 1);
    m_import = m_bench.heavy.request(
        "import", {{"path", path}, {"out", out}}, this,
        {[this, name, out](const QJsonValue& value) {
             m_import = 0;
             m_banner->hide();
             m_awaited = {Models, out};
             m_bench.catalogue.refreshModels();
             m_bench.say(value["tokenizer"].toBool()
                             ? tr("%1 brought in").arg(name)
                             : tr("%1 brought in; the file has no tokenizer").arg(name),
                         tr("New run"), [this, out] {
                             m_bench.editAsNewRun({{"model", QJsonObject{{"path", out}}}},
                                                  QFileInfo(out).fileName());
                         });
         },
         [this](const ServeProblem& problem) {
             m_import = 0;
             if (problem.code == "cancelled") {
                 m_banner->hide();
                 return m_bench.say(tr("Cancelled; nothing was left behind"), {}, {}, "note");
             }
             m_banner->show("err", problem.message + " " + problem.hint, tr("Close"));
         },
         [told](const QJsonObject& event) {
             told(event["name"].toString(), event["done"].toInt(), event["total"].toInt());
         }});
}

void LibraryPage::forget(const QString& path) {
    const QStringList before = Settings::value("library/folders").toStringList();
    QStringList after = before;
    after.removeAll(path);
    m_chosen.clear();
    setFolders(after);
    m_detail->showNothing();
    recordStep(
        m_bench.undo, tr("take %1 off the list").arg(QFileInfo(path).fileName()),
        [this, after] { setFolders(after); }, [this, before] { setFolders(before); });
    m_bench.say(tr("%1 is off the list; its files are untouched").arg(QFileInfo(path).fileName()),
                tr("Undo"), [this] { m_bench.undo.undo(); });
}

void LibraryPage::resizeEvent(QResizeEvent* event) {
    Page::resizeEvent(event);
    // Names take a share of what is there, problems the rest; the splitter has its say first.
    QMetaObject::invokeMethod(
        this,
        [this] {
            const int share =
                std::clamp(m_boxes[Models]->parentWidget()->width() / 4, px(170), px(400));
            for (const Kind kind : {Models, Datasets}) m_tables[kind]->setColumnWidth(0, share);
        },
        Qt::QueuedConnection);
}

void LibraryPage::dragEnterEvent(QDragEnterEvent* event) {
    if (!event->mimeData()->hasUrls()) return;
    m_drop->setActive(true);
    event->acceptProposedAction();
}

void LibraryPage::dragLeaveEvent(QDragLeaveEvent*) { m_drop->setActive(false); }

void LibraryPage::dropEvent(QDropEvent* event) {
    m_drop->setActive(false);
    for (const QUrl& url : event->mimeData()->urls()) {
        if (url.isLocalFile())
            add(QFileInfo(url.toLocalFile()).absoluteFilePath());
        else
            m_banner->show("err",
                           tr("%1 lies on another computer; only local files can be read.")
                               .arg(url.toString()),
                           tr("Close"));
    }
}

}  // namespace luthier::ui
