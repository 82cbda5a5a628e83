// SPDX-License-Identifier: GPL-3.0-or-later
#include "pages/library_detail.h"

#include "settings/settings.h"
#include "theme/format.h"
#include "theme/icons.h"
#include "theme/theme.h"
#include "widgets/basics.h"
#include "widgets/fact_rows.h"
#include "widgets/parts_bar.h"

#include <QApplication>
#include <QClipboard>
#include <QDesktopServices>
#include <QDir>
#include <QFileInfo>
#include <QJsonDocument>
#include <QMenu>
#include <QPainter>
#include <QPlainTextEdit>
#include <QScrollArea>
#include <QUrl>

#include <cmath>
#include <memory>

namespace luthier::ui {

namespace {

class Avatar final : public QWidget {
public:
    explicit Avatar(const QString& letter) : m_letter(letter) { setFixedSize(px(40), px(40)); }

protected:
    void paintEvent(QPaintEvent*) override {
        QPainter p(this);
        p.setRenderHint(QPainter::Antialiasing);
        p.setPen(Qt::NoPen);
        p.setBrush(Theme::tokens().fill);
        p.drawRoundedRect(rect(), 8, 8);
        p.setFont(themeFont(Type::Title));
        p.setPen(Qt::white);
        p.drawText(rect(), Qt::AlignCenter, m_letter);
    }

private:
    QString m_letter;
};

QString partGroup(const QString& role) {
    if (role == "embedding") return LibraryDetail::tr("Embeddings");
    if (role == "head" || role == "pooler") return LibraryDetail::tr("Head");
    if (role == "norm") return LibraryDetail::tr("Norms");
    if (role == "gate" || role == "up" || role == "down") return LibraryDetail::tr("MLP");
    if (role.isEmpty()) return LibraryDetail::tr("Other");
    return LibraryDetail::tr("Attention");
}

/// Parts of an `inspect` value, summed into the groups people know.
std::vector<PartShare> groupedParts(const QJsonObject& model) {
    QHash<QString, QString> roles;
    for (const QJsonValue& module : model["map"]["modules"].toArray())
        roles[module["name"].toString().section('.', -1)] = module["role"].toString();
    std::vector<PartShare> groups;
    for (const QJsonValue& part : model["parts"].toArray()) {
        const QString name = part["name"].toString();
        QString role = roles.value(name);
        if (role.isEmpty() &&
            (name.contains("norm", Qt::CaseInsensitive) || name.startsWith("ln_")))
            role = "norm";
        if (role.isEmpty() && (name.contains("embed") || name.contains("position") ||
                               name == "wpe" || name == "shared"))
            role = "embedding";
        const QString group = partGroup(role);
        const auto found = std::find_if(groups.begin(), groups.end(),
                                        [&](const PartShare& each) { return each.name == group; });
        if (found == groups.end())
            groups.push_back({group, part["parameters"].toDouble()});
        else
            found->count += part["parameters"].toDouble();
    }
    std::erase_if(groups, [](const PartShare& each) { return each.count <= 0; });
    return groups;
}

QString homeless(const QString& path) {
    const QString home = QDir::homePath();
    return path.startsWith(home + "/") ? "~" + path.mid(home.size()) : path;
}

}  // namespace

LibraryDetail::LibraryDetail(Workbench& bench) : m_bench(bench) {
    setMinimumWidth(px(300));
    auto* outer = makeColumn(0);
    setLayout(outer);
    showNothing();
}

void LibraryDetail::begin() {
    ++m_generation;
    m_content = new QWidget;
    m_column = makeColumn(0);
    m_content->setLayout(m_column);
}

void LibraryDetail::end() {
    m_column->addStretch(1);
    while (QLayoutItem* item = layout()->takeAt(0)) {
        item->widget()->hide();
        item->widget()->deleteLater();
        delete item;
    }
    layout()->addWidget(makeScroll(m_content));
}

void LibraryDetail::showNothing() {
    begin();
    auto* empty = new EmptyState(
        "library", tr("Nothing chosen"),
        tr("What a model, dataset or adapter is, and what training it takes, appears here."));
    m_column->addWidget(empty);
    end();
}

QVBoxLayout* LibraryDetail::section(const QString& title, const QString& note) {
    auto* inner = makeColumn(8);
    inner->setContentsMargins(16, 14, 16, 14);
    if (!title.isEmpty()) {
        auto* row = makeRow(8);
        row->addWidget(makeLabel(title, "strong"));
        row->addStretch(1);
        if (!note.isEmpty()) row->addWidget(makeLabel(note, "table", "t2"));
        inner->addLayout(row);
    }
    m_column->addLayout(inner);
    m_column->addWidget(makeRule());
    return inner;
}

void LibraryDetail::addHead(const QString& name, const QString& path, const QString& avatar) {
    auto* inner = makeColumn(12);
    inner->setContentsMargins(16, 16, 16, 0);
    auto* row = makeRow(12);
    auto* names = makeColumn(2);
    names->addWidget(new ElidedLabel(name, "title"));
    auto* place = new ElidedLabel(homeless(path), "table", "t2");
    place->setToolTip(path);
    names->addWidget(place);
    row->addWidget(new Avatar(avatar), 0, Qt::AlignTop);
    row->addLayout(names, 1);
    inner->addLayout(row);
    m_column->addLayout(inner);
}

void LibraryDetail::addButtons(const QString& first, const QString& icon, std::function<void()> run,
                               const QString& second, const QString& secondIcon,
                               std::function<void()> secondRun, const QString& path,
                               bool isAllowed) {
    auto* row = makeRow(8);
    row->setContentsMargins(16, 12, 16, 16);
    auto* primary = makeButton(first, "primary", 28, icon);
    primary->setEnabled(isAllowed);
    connect(primary, &QPushButton::clicked, this, run);
    row->addWidget(primary, 1);
    if (!second.isEmpty()) {
        auto* other = makeButton(second, "plain", 28, secondIcon);
        other->setEnabled(isAllowed);
        connect(other, &QPushButton::clicked, this, secondRun);
        row->addWidget(other);
    }
    auto* more = makeIconButton("dots", tr("More"), 28, "iconframe");
    connect(more, &QPushButton::clicked, this, [this, more, path] {
        QMenu menu(this);
        menu.addAction(themedIcon("folder"), tr("Show in folder"), this, [path] {
            QDesktopServices::openUrl(
                QUrl::fromLocalFile(QFileInfo(path).isDir() ? path : QFileInfo(path).path()));
        });
        menu.addAction(themedIcon("copy"), tr("Copy path"), this, [this, path] {
            QApplication::clipboard()->setText(path);
            m_bench.say(tr("Path copied"));
        });
        if (Settings::value("library/folders").toStringList().contains(path))
            menu.addAction(themedIcon("close"), tr("Take off the list"), this,
                           [this, path] { emit forgetWanted(path); });
        menu.exec(more->mapToGlobal(QPoint(0, more->height() + 2)));
    });
    row->addWidget(more);
    m_column->addLayout(row);
    m_column->addWidget(makeRule());
}

void LibraryDetail::addProblems(const QJsonObject& object, const QString& fallback) {
    QJsonArray problems = object["problems"].toArray();
    if (problems.isEmpty() && !fallback.isEmpty()) problems << QJsonObject{{"message", fallback}};
    for (const QJsonValue& problem : problems) {
        auto* row = makeRow(0);
        row->setContentsMargins(16, 12, 16, 4);
        auto* banner = new Banner;
        banner->show(problem["level"].toString() == "warning" ? "warn" : "err",
                     problem["message"].toString() + (problem["hint"].toString().isEmpty()
                                                          ? QString()
                                                          : "\n" + problem["hint"].toString()));
        row->addWidget(banner);
        m_column->addLayout(row);
    }
}

void LibraryDetail::showModel(const QJsonObject& model) {
    begin();
    const QString path = model["path"].toString(), name = m_bench.modelName(path);
    const bool canTrain = model["can_train"].toBool();
    addHead(name, path, model["family"].toString(name).left(1).toUpper());
    addButtons(
        tr("New run"), "plus",
        [this, path] {
            QJsonObject config =
                QJsonDocument::fromJson(Settings::value("newrun/config").toByteArray()).object();
            if (config.isEmpty()) config = m_bench.demoConfig();
            config["model"] = QJsonObject{{"path", path}};
            config.remove("name");
            m_bench.editAsNewRun(config, tr("the library"));
        },
        tr("Try it"), "playground", [this, path] { m_bench.openPlayground(path, {}); }, path,
        canTrain);
    if (!canTrain) addProblems(model, model["reason"].toString());
    if (model.contains("architecture")) {
        auto* facts = new FactRows(FactRows::Values::Beside);
        const auto number = [&](const char* key) {
            return format::count(model[QLatin1String(key)].toInteger());
        };
        const bool isGrouped = model["heads"].toInteger() != model["key_value_heads"].toInteger();
        const QString tokenizer = model["tokenizer"].toString();
        std::vector<Fact> rows{
            {tr("Architecture"), model["architecture"].toString(), {}, {}, false, {}},
            {tr("Parameters"),
             model["tensors"].toInteger() > 0
                 ? tr("%1 in %2 tensors").arg(number("parameters"), number("tensors"))
                 : number("parameters"),
             {},
             {},
             false,
             {}},
            {tr("Layers, context"),
             number("layers") + " · " + number("context"),
             {},
             {},
             false,
             {}},
            {tr("Width, MLP width"),
             number("hidden") + " · " + number("intermediate"),
             {},
             {},
             false,
             {}},
            {tr("Heads, key-value"),
             number("heads") + " · " + number("key_value_heads") +
                 (isGrouped ? " " + tr("(grouped)") : QString()),
             {},
             {},
             false,
             {}},
            {tr("Vocabulary"),
             number("vocabulary"),
             model["tied"].toBool() ? tr("head tied") : QString(),
             {},
             false,
             {}},
            {tr("Tokeniser"),
             tokenizer.isEmpty() ? tr("none that can be read") : tokenizer,
             {},
             tokenizer.isEmpty() ? Theme::tokens().err : QColor(),
             false,
             {}},
            {tr("Licence file"),
             model["license"].toString().isEmpty() ? tr("none in the folder")
                                                   : model["license"].toString(),
             {},
             {},
             false,
             {}}};
        facts->set(std::move(rows));
        section({})->addWidget(facts);
        auto* parts = new PartsBar;
        parts->set(groupedParts(model));
        section(tr("Where the parameters are"))->addWidget(parts);
    }
    if (const QJsonObject memory = model["memory"].toObject(); !memory.isEmpty()) addFits(memory);
    const QString chatTemplate = model["chat_template_text"].toString();
    if (!chatTemplate.isEmpty()) {
        auto* text = new QPlainTextEdit(chatTemplate);
        text->setReadOnly(true);
        text->setProperty("mono", "true");
        text->setAccessibleName(tr("Chat template"));
        text->setFixedHeight(px(120));
        section(tr("Chat template"))->addWidget(text);
    }
    if (const QJsonArray files = model["files"].toArray(); !files.isEmpty()) {
        std::vector<Fact> rows;
        for (const QJsonValue& file : files)
            if (rows.size() < 12)
                rows.push_back({file["name"].toString(),
                                format::bytes(file["bytes"].toDouble()),
                                {},
                                {},
                                true,
                                {}});
        auto* list = new FactRows;
        list->set(std::move(rows));
        section(tr("Files"), tr("%n file(s)", nullptr, static_cast<int>(files.size())))
            ->addWidget(list);
    }
    end();
}

void LibraryDetail::addFits(const QJsonObject& memory) {
    const double capacity = memory["device_bytes"].toDouble();
    std::vector<FitRow> rows;
    const QJsonObject training = memory["train"].toObject();
    for (auto it = training.begin(); it != training.end(); ++it) {
        const MethodInfo* method = m_bench.catalogue.method(it.key());
        rows.push_back({method != nullptr ? method->title : it.key(), it->toDouble(), {}});
    }
    std::stable_sort(rows.begin(), rows.end(),
                     [](const FitRow& a, const FitRow& b) { return a.bytes < b.bytes; });
    rows.insert(rows.begin(), {tr("Inference"), memory["inference"].toDouble(), {}});
    auto* inner = section(tr("Memory"), tr("training: batch 1 × 512 tokens"));
    auto* bars = new FitBars;
    bars->set(std::move(rows), capacity);
    inner->addWidget(bars);
    inner->addWidget(makeLabel(tr("of %1, estimated").arg(format::bytes(capacity)), "table", "t2"));
}

void LibraryDetail::showDataset(const QJsonObject& dataset) {
    begin();
    const QString path = dataset["path"].toString();
    addHead(QFileInfo(path).fileName(), path, QFileInfo(path).fileName().left(1).toUpper());
    const QJsonArray problems = dataset["problems"].toArray();
    const bool isGood = problems.isEmpty() && dataset["kind"].toString() == "dataset";
    addButtons(
        tr("Use in new run"), "plus",
        [this, path] {
            QJsonObject config =
                QJsonDocument::fromJson(Settings::value("newrun/config").toByteArray()).object();
            if (config.isEmpty()) config = m_bench.demoConfig();
            QJsonObject rows = config["data"].toObject();
            rows["train"] = QJsonObject{{"path", path}};
            config["data"] = rows;
            config.remove("name");
            m_bench.editAsNewRun(config, tr("the library"));
        },
        tr("See rows"), "data", [this, path] { m_bench.openData(path); }, path, isGood);
    if (!isGood) addProblems(dataset, {});
    QStringList columns;
    for (const QJsonValue& column : dataset["columns"].toArray()) columns << column.toString();
    auto* facts = new FactRows(FactRows::Values::Beside);
    facts->set(
        {{tr("Format"),
          dataset["format"].toString().isEmpty() ? tr("not recognised")
                                                 : dataset["format"].toString().replace('_', ' '),
          {},
          {},
          false,
          {}},
         {tr("Rows"), format::count(dataset["rows"].toInteger()), {}, {}, false, {}},
         {tr("Columns"), columns.join(", "), {}, {}, false, {}},
         {tr("On disk"), format::bytes(dataset["bytes"].toDouble()), {}, {}, false, {}}});
    section({})->addWidget(facts);
    if (isGood) addTokenCounts(path);
    if (const QJsonObject first = dataset["first"].toObject(); !first.isEmpty()) {
        auto* inner = section(tr("First row"));
        for (const QString& key : first.keys()) {
            inner->addWidget(makeLabel(key, "monosmall", "t2"));
            const QJsonValue value = first[key];
            QString text =
                value.isString()
                    ? value.toString().trimmed()
                    : QString::fromUtf8(
                          value.isArray()
                              ? QJsonDocument(value.toArray()).toJson(QJsonDocument::Compact)
                              : QJsonDocument(QJsonArray{value})
                                    .toJson(QJsonDocument::Compact)
                                    .mid(1)
                                    .chopped(1));
            if (text.size() > 600) text = text.left(600) + QStringLiteral("…");
            auto* body = makeLabel(text, "table");
            body->setWordWrap(true);
            body->setTextInteractionFlags(Qt::TextSelectableByMouse);
            inner->addWidget(body);
        }
    }
    end();
}

void LibraryDetail::addTokenCounts(const QString& path) {
    QString model, name;
    for (const QJsonObject& each : m_bench.catalogue.models())
        if (model.isEmpty() && each["can_train"].toBool()) {
            model = each["path"].toString();
            name = m_bench.modelName(model);
        }
    if (model.isEmpty()) return;
    auto* inner = section(tr("Tokens"), tr("counted with %1").arg(name));
    auto* facts = new FactRows;
    facts->set({{tr("Counting"), QStringLiteral("…"), {}, {}, false, {}}});
    inner->addWidget(facts);
    const int generation = m_generation;
    const QJsonObject config{{"model", QJsonObject{{"path", model}}},
                             {"data", QJsonObject{{"train", QJsonObject{{"path", path}}},
                                                  {"eval", QJsonObject{{"split", 0}}},
                                                  {"max_length", 512}}}};
    m_bench.quick.request(
        "preview",
        {{"config", config}, {"directory", m_bench.workspace()}, {"first", 0}, {"count", 0}}, facts,
        {[this, generation, facts](const QJsonValue& value) {
             if (generation != m_generation) return;
             double tokens = 0, rows = 0;
             for (const QJsonValue& pair : value["lengths"]["by_length"].toArray()) {
                 tokens += pair[0].toDouble() * pair[1].toDouble();
                 rows += pair[1].toDouble();
             }
             const double all = value["tokens"].toDouble();
             facts->set(
                 {{tr("All rows"), format::count(std::llround(tokens)), {}, {}, false, {}},
                  {tr("A row, on average"),
                   rows > 0 ? format::count(std::llround(tokens / rows)) : QStringLiteral("–"),
                   {},
                   {},
                   false,
                   {}},
                  {tr("Longest"),
                   format::count(value["lengths"]["longest"].toInteger()),
                   {},
                   {},
                   false,
                   {}},
                  {tr("Carry loss"),
                   format::percent(all > 0 ? value["supervised_tokens"].toDouble() / all : 0),
                   {},
                   {},
                   false,
                   {}},
                  {tr("Rows over 512"),
                   format::count(value["truncated_rows"].toInteger()),
                   {},
                   value["truncated_rows"].toInteger() > 0 ? Theme::tokens().warn : QColor(),
                   false,
                   {}}});
         },
         [this, generation, facts](const ServeProblem& problem) {
             if (generation == m_generation) facts->set({{problem.message, {}, {}, {}, false, {}}});
         },
         {}});
}

void LibraryDetail::showAdapter(const RunInfo& run) {
    begin();
    const QString path = run.folder + (run.hasFullModel ? "/model" : "/adapter");
    addHead(run.name, path, methodTitle(run.method).left(1).toUpper());
    const QString id = run.id, base = run.modelPath;
    const bool isModel = run.hasFullModel;
    addButtons(
        tr("Try it"), "playground",
        [this, path, base, isModel] {
            isModel ? m_bench.openPlayground(path, {}) : m_bench.openPlayground(base, path);
        },
        tr("Export"), "export", [this, id] { m_bench.openExport(id); }, path, true);
    auto* facts = new FactRows(FactRows::Values::Beside);
    std::vector<Fact> rows{
        {tr("Method"), run.methodWords(), {}, {}, false, {}},
        {tr("Base"), run.modelName(), {}, {}, false, {}},
        {tr("Data"), run.dataName(), {}, {}, false, {}},
        {tr("Trained"),
         run.trainable >= 0 ? format::count(run.trainable) : QStringLiteral("–"),
         run.total > 0 && run.trainable >= 0
             ? format::percent(static_cast<double>(run.trainable) / static_cast<double>(run.total))
             : QString(),
         {},
         false,
         {}},
        {tr("Steps"), format::count(run.steps), {}, {}, false, {}},
        {tr("Best evaluation"),
         format::loss(run.bestEval),
         run.bestEvalStep >= 0 ? tr("step %1").arg(format::count(run.bestEvalStep)) : QString(),
         {},
         false,
         {}},
        {tr("Made"), format::moment(run.created), {}, {}, false, {}}};
    facts->set(std::move(rows));
    section({})->addWidget(facts);
    std::vector<Fact> files;
    for (const QFileInfo& file : QDir(path).entryInfoList(QDir::Files, QDir::Size))
        files.push_back(
            {file.fileName(), format::bytes(static_cast<double>(file.size())), {}, {}, true, {}});
    auto* list = new FactRows;
    list->set(std::move(files));
    section(tr("Files"))->addWidget(list);
    end();
}

}  // namespace luthier::ui
