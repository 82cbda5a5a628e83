// SPDX-License-Identifier: GPL-3.0-or-later
#include "frame/main_window.h"

#include "frame/bars.h"
#include "frame/command_palette.h"
#include "frame/drop_veil.h"
#include "frame/rail.h"
#include "frame/toast.h"
#include "pages/compare_page.h"
#include "pages/data_page.h"
#include "pages/export_page.h"
#include "pages/library_page.h"
#include "pages/live_page.h"
#include "pages/new_run_page.h"
#include "pages/playground_page.h"
#include "pages/settings_page.h"
#include "pages/start_page.h"
#include "settings/english_plurals.h"
#include "settings/settings.h"
#include "theme/format.h"
#include "theme/theme.h"
#include "widgets/controls.h"

#include <QApplication>
#include <QCloseEvent>
#include <QDateTime>
#include <QDir>
#include <QDragEnterEvent>
#include <QFileDialog>
#include <QMimeData>
#include <QScreen>
#include <QShortcut>

namespace luthier::ui {

namespace {
constexpr const char* kPageKeys[] = {"start",   "library",    "data",   "new-run", "runs",
                                     "compare", "playground", "export", "settings"};

/// A model, an adapter or a folder of such; everything else is read as data.
bool isForLibrary(const QString& path) {
    const auto isOne = [](const QString& folder) {
        return QFileInfo::exists(folder + "/config.json") ||
               QFileInfo::exists(folder + "/adapter_config.json");
    };
    if (!QFileInfo(path).isDir()) return path.endsWith(".gguf", Qt::CaseInsensitive);
    if (isOne(path)) return true;
    const QStringList inner = QDir(path).entryList(QDir::Dirs | QDir::NoDotAndDotDot);
    return std::any_of(inner.begin(), inner.end(),
                       [&](const QString& name) { return isOne(path + "/" + name); });
}

/// Files and folders of this computer that a drag brings; none when it brings anything else.
QStringList localPaths(const QMimeData* data) {
    QStringList paths;
    for (const QUrl& url : data->urls()) {
        if (!url.isLocalFile()) return {};
        paths << QFileInfo(url.toLocalFile()).absoluteFilePath();
    }
    return paths;
}
}  // namespace

QString pageKey(PageId id) { return QLatin1String(kPageKeys[static_cast<int>(id)]); }

bool pageFromKey(const QString& key, PageId* id) {
    const QString wanted = key == "live" ? "runs" : key == "newrun" ? "new-run" : key;
    for (int i = 0; i < 9; ++i)
        if (wanted == QLatin1String(kPageKeys[i])) {
            *id = static_cast<PageId>(i);
            return true;
        }
    return false;
}

MainWindow::MainWindow(Workbench& bench) : m_bench(bench) {
    qApp->installTranslator(new EnglishPlurals(this));
    setWindowTitle("Luthier");
    setMinimumSize(1024, 640);
    auto* central = new QWidget;
    auto* row = makeRow(0);
    m_rail = new Rail;
    row->addWidget(m_rail);
    auto* column = makeColumn(0);
    m_top = new TopBar;
    m_stack = new QStackedWidget;
    column->addWidget(m_top);
    column->addWidget(m_stack, 1);
    column->addWidget(new StatusBar(bench));
    row->addLayout(column, 1);
    central->setLayout(row);
    setCentralWidget(central);
    central->setFocusPolicy(Qt::ClickFocus);
    central->setFocus();  // no ring anywhere until the keyboard is used
    m_toasts = new ToastArea(this);
    m_veil = new DropVeil(this);
    setAcceptDrops(true);
    new FocusRing(this);

    connect(m_rail, &Rail::chosen, this, &MainWindow::showPage);
    connect(m_top->search(), &QAbstractButton::clicked, this, &MainWindow::openPalette);
    connect(m_top->pill(), &QAbstractButton::clicked, this,
            [this] { m_bench.openRun(m_bench.queue.activeId()); });
    connect(&bench, &Workbench::pageWanted, this, &MainWindow::showPage);
    connect(&bench, &Workbench::toastWanted, m_toasts, &ToastArea::show);
    connect(&bench, &Workbench::runWanted, this, [this](const QString& id) {
        static_cast<LivePage*>(page(PageId::Runs))->showRun(id);
        showPage(PageId::Runs);
    });
    connect(&bench, &Workbench::configWanted, this,
            [this](const QJsonObject& config, const QString& origin) {
                static_cast<NewRunPage*>(page(PageId::NewRun))->load(config, origin);
                showPage(PageId::NewRun);
            });
    connect(&bench, &Workbench::dataWanted, this, [this](const QString& path) {
        static_cast<DataPage*>(page(PageId::Data))->open(path);
        showPage(PageId::Data);
    });
    connect(&bench, &Workbench::playgroundWanted, this,
            [this](const QString& model, const QString& adapter) {
                static_cast<PlaygroundPage*>(page(PageId::Playground))->open(model, adapter);
                showPage(PageId::Playground);
            });
    connect(&bench, &Workbench::exportWanted, this, [this](const QString& id) {
        static_cast<ExportPage*>(page(PageId::Export))->select(id);
        showPage(PageId::Export);
    });
    connect(&bench.queue, &RunQueue::startFailed, this,
            [this](const QString&, const QString& sentence, const QString& details) {
                m_bench.say(details.isEmpty() ? sentence : sentence + " " + details, {}, {}, "err");
            });
    connect(&bench.queue, &RunQueue::changed, this, &MainWindow::updatePill);
    connect(&bench.runs, &RunLibrary::changed, this, &MainWindow::updatePill);
    connect(&bench.quick, &ServeClient::died, this, [this](const QString& sentence) {
        m_bench.say(tr("%1 It starts again with your next action.").arg(sentence), {}, {}, "err");
    });
    connect(&bench.heavy, &ServeClient::died, this, [this](const QString& sentence) {
        m_bench.say(tr("%1 It starts again with your next action.").arg(sentence), {}, {}, "err");
    });
    bindKeys();
}

Page* MainWindow::page(PageId id) {
    Page*& page = m_pages[static_cast<std::size_t>(id)];
    if (page) return page;
    switch (id) {
        case PageId::Start:
            page = new StartPage(m_bench);
            break;
        case PageId::Library:
            page = new LibraryPage(m_bench);
            break;
        case PageId::Data:
            page = new DataPage(m_bench);
            break;
        case PageId::NewRun:
            page = new NewRunPage(m_bench);
            break;
        case PageId::Runs:
            page = new LivePage(m_bench);
            break;
        case PageId::Compare:
            page = new ComparePage(m_bench);
            break;
        case PageId::Playground:
            page = new PlaygroundPage(m_bench);
            break;
        case PageId::Export:
            page = new ExportPage(m_bench);
            break;
        case PageId::Settings:
            page = new SettingsPage(m_bench);
            break;
    }
    m_stack->addWidget(page);
    connect(page, &Page::contextChanged, this, &MainWindow::showContext);
    return page;
}

void MainWindow::showPage(PageId id) {
    m_current = id;
    Page* shown = page(id);
    m_stack->setCurrentWidget(shown);
    m_rail->setCurrent(id);
    shown->enter();
    showContext();
    updatePill();
    Settings::set("window/page", pageKey(id));
}

void MainWindow::showContext() {
    Page* shown = page(m_current);
    m_top->setTitle(shown->title(), shown->context());
    m_top->setActions(shown->actions());
}

void MainWindow::updatePill() {
    const QString active = m_bench.queue.activeId();
    if (active.isEmpty() || m_current == PageId::Runs) {
        m_top->pill()->hide();
        if (m_pillFeed) disconnect(m_pillFeed.get(), nullptr, this, nullptr);
        m_pillFeed.reset();
        return;
    }
    const std::shared_ptr<RunFeed> feed = m_bench.feed(active);
    if (feed != m_pillFeed) {
        if (m_pillFeed) disconnect(m_pillFeed.get(), nullptr, this, nullptr);
        m_pillFeed = feed;
        connect(feed.get(), &RunFeed::changed, this, &MainWindow::updatePill);
    }
    const RunInfo* info = m_bench.runs.find(active);
    const RunRecord& record = feed->record();
    const double total = info ? static_cast<double>(info->maxSteps) : 0;
    const double share = total > 0 ? static_cast<double>(record.lastStep()) / total : 0;
    QString note = tr("step %1").arg(record.lastStep());
    if (share > 0 && record.curves.size() > 2) {
        const double left = record.curves.seconds.back() / static_cast<double>(record.lastStep()) *
                            (total - static_cast<double>(record.lastStep()));
        note = QStringLiteral("%1 %  ").arg(static_cast<int>(share * 100)) +
               tr("%1 left").arg(format::duration(left));
    }
    m_top->pill()->set(info ? info->name : active, share, note);
    m_top->pill()->setVisible(true);
}

void MainWindow::bindKeys() {
    const auto key = [this](const QKeySequence& keys, std::function<void()> run) {
        connect(new QShortcut(keys, this), &QShortcut::activated, this, run);
    };
    for (int i = 0; i < 8; ++i)
        key(QKeySequence(Qt::ALT | static_cast<Qt::Key>(Qt::Key_1 + i)),
            [this, i] { showPage(static_cast<PageId>(i)); });
    key(QKeySequence("Ctrl+,"), [this] { showPage(PageId::Settings); });
    key(QKeySequence("Ctrl+K"), [this] { openPalette(); });
    key(QKeySequence("Ctrl+D"), [this] { openDemo(); });
    key(QKeySequence("Ctrl+O"), [this] { chooseWorkspace(); });
    key(QKeySequence("Ctrl+N"), [this] { showPage(PageId::NewRun); });
    const auto command = [this](PageCommand what) { page(m_current)->perform(what); };
    key(QKeySequence("Ctrl+Return"), [command] { command(PageCommand::Start); });
    key(QKeySequence("Ctrl+Shift+Return"), [command] { command(PageCommand::AddToQueue); });
    key(QKeySequence("Ctrl+P"), [command] { command(PageCommand::PauseOrResume); });
    key(QKeySequence("Ctrl+S"), [command] { command(PageCommand::Checkpoint); });
    key(QKeySequence("Ctrl+."), [command] { command(PageCommand::Stop); });
    key(QKeySequence("Ctrl+E"), [command] { command(PageCommand::ExportPlot); });
    key(QKeySequence("Ctrl+Z"), [this] { undo(); });
    key(QKeySequence("Ctrl+Shift+Z"), [this] { redo(); });
    const auto scale = [](int step) {
        const int size =
            qBound(80, Settings::value("appearance/textSize", 100).toInt() + step, 150);
        Settings::set("appearance/textSize", size);
        Settings::applyAppearance();
    };
    key(QKeySequence::ZoomIn, [scale] { scale(10); });
    key(QKeySequence("Ctrl+="), [scale] { scale(10); });
    key(QKeySequence::ZoomOut, [scale] { scale(-10); });
}

void MainWindow::undo() {
    const QString text = m_bench.undo.undoText();
    if (!m_bench.undo.canUndo()) return m_bench.say(tr("Nothing to undo"), {}, {}, "note");
    m_bench.undo.undo();
    m_bench.say(tr("Undone: %1").arg(text), tr("Redo"), [this] { redo(); }, "note");
}

void MainWindow::redo() {
    const QString text = m_bench.undo.redoText();
    if (!m_bench.undo.canRedo()) return m_bench.say(tr("Nothing to redo"), {}, {}, "note");
    m_bench.undo.redo();
    m_bench.say(tr("Done again: %1").arg(text), tr("Undo"), [this] { undo(); }, "note");
}

void MainWindow::openDemo() {
    const QJsonObject config = m_bench.demoConfig();
    if (config.isEmpty()) {
        m_bench.say(tr("The demo was not found beside this program."), {}, {}, "err");
        return;
    }
    Settings::set("firstSteps/opened", true);
    m_bench.editAsNewRun(config, tr("the demo"));
}

void MainWindow::chooseWorkspace() {
    const QString folder =
        QFileDialog::getExistingDirectory(this, tr("Open workspace"), m_bench.workspace());
    if (folder.isEmpty()) return;
    m_bench.setWorkspace(folder);
    m_bench.catalogue.refreshModels();
    Settings::set("window/workspace", folder);
}

void MainWindow::openPalette() {
    std::vector<PaletteEntry> entries;
    const char* icons[] = {"home",    "library",    "data",   "plus",    "runs",
                           "compare", "playground", "export", "settings"};
    const QString titles[] = {tr("Start"),      tr("Library"), tr("Data"),
                              tr("New run"),    tr("Runs"),    tr("Compare"),
                              tr("Playground"), tr("Export"),  tr("Settings")};
    for (int i = 0; i < 9; ++i)
        entries.push_back(
            {icons[i], titles[i], tr("page"), [this, i] { showPage(static_cast<PageId>(i)); }});
    if (!m_bench.demoConfig().isEmpty())
        entries.push_back({"play", tr("Open the demo"), "Ctrl+D", [this] { openDemo(); }});
    entries.push_back({"folder", tr("Open workspace…"), "Ctrl+O", [this] { chooseWorkspace(); }});
    for (const char* theme : {"dark", "light", "contrast"})
        entries.push_back(
            {"eye", tr("Theme: %1").arg(QLatin1String(theme)), tr("appearance"), [theme] {
                 Settings::set("appearance/theme", QLatin1String(theme));
                 Settings::applyAppearance();
             }});
    for (const RunInfo& run : m_bench.runs.runs()) {
        const QString id = run.id;
        entries.push_back({"runs", run.name, tr("run, %1").arg(run.methodWords()),
                           [this, id] { m_bench.openRun(id); }});
    }
    for (const QJsonObject& model : m_bench.catalogue.models()) {
        const QString path = model["path"].toString();
        entries.push_back({"cube", model["name"].toString(), tr("model, try it"),
                           [this, path] { m_bench.openPlayground(path, {}); }});
    }
    (new CommandPalette(std::move(entries), this))->show();
}

void MainWindow::restore() {
    if (restoreGeometry(Settings::value("window/geometry").toByteArray())) return;
    const QSize all = screen()->availableSize();
    resize(QSize(1440, 900).expandedTo(all * 0.7).boundedTo(all));
}

void MainWindow::dragEnterEvent(QDragEnterEvent* event) {
    const QStringList paths = localPaths(event->mimeData());
    if (paths.isEmpty()) return;
    event->acceptProposedAction();
    const QString name = QFileInfo(paths.first()).fileName();
    if (paths.size() > 1)
        m_veil->show(tr("Add %n thing(s) to the library", nullptr, static_cast<int>(paths.size())),
                     tr("Files stay where they are."));
    else if (isForLibrary(paths.first()))
        m_veil->show(tr("Add %1 to the library").arg(name), tr("Files stay where they are."));
    else
        m_veil->show(
            tr("Open %1 as data").arg(name),
            tr("You see every row as the trainer will see it. Files stay where they are."));
}

void MainWindow::dragLeaveEvent(QDragLeaveEvent*) { m_veil->hide(); }

void MainWindow::dropEvent(QDropEvent* event) {
    m_veil->hide();
    const QStringList paths = localPaths(event->mimeData());
    if (paths.isEmpty()) return;
    event->acceptProposedAction();
    if (paths.size() == 1 && !isForLibrary(paths.first())) return m_bench.openData(paths.first());
    showPage(PageId::Library);
    for (const QString& path : paths) static_cast<LibraryPage*>(page(PageId::Library))->add(path);
}

void MainWindow::closeEvent(QCloseEvent* event) {
    Settings::set("window/geometry", saveGeometry());
    Settings::store().sync();
    event->accept();
}

}  // namespace luthier::ui
