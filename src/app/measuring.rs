//! What runs under a configuration: one topology, and one engine whose effects are applied.

use std::{net::IpAddr, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tracing::{error, info, warn};

use super::{
    commands::{Audit, Commands, outcome, taken_back},
    copying::Copying,
    error::RunError,
    log::log,
    probers::{TokenContext, anchor_prober, prober},
    reloading::check_restart_only,
    state_dir::StateDir,
};
use crate::{
    alert::{Notifier, Restored, Setup},
    config::{Config, DatabaseServer, Loaded},
    decision::{Effects, Now, StateChange, StatementNews},
    engine::{Change, Engine, Input, PathSetup, Slot, Topology},
    metrics::Metrics,
    model::{Cadence, DatabaseEvent, Incident, Region, UnixMillis, VoteResponse},
    net::{Resolver, Timestamp, TlsContext},
    probe::{ResponseSender, Writing},
    schedule::{Command, Event, Launcher, SlotPhase},
    server::{EncodedVotes, Query},
    signing::{Action, Command as SignedCommand},
    status::format,
};

/// After how long without a tick all peers are evaluated before anything else is taken or said: this process was stopped, and
/// what was known before says nothing about now.
const STALL: Duration = Duration::from_secs(2);

/// This moment on both clocks.
pub(super) fn now() -> Now {
    Now { instant: Instant::now(), unix: UnixMillis(Timestamp::now().unix_nanos() / 1_000_000) }
}

/// The engine, and everything that applies its effects.
pub(super) struct App {
    topology: Topology,
    metrics: Arc<Metrics>,
    engine: Engine,
    wake_at: Option<Instant>,
    resolver: Resolver,
    tls: Arc<TlsContext>,
    commands: mpsc::UnboundedSender<Command>,
    events: mpsc::Sender<Event>,
    responses: mpsc::Sender<VoteResponse>,
    database_news: mpsc::Sender<DatabaseEvent>,
    /// What the probers of each database share.
    writing: Vec<Arc<Writing>>,
    notifier: Notifier,
    /// When all peers were evaluated last.
    evaluated: watch::Sender<Instant>,
    copying: Copying,
    state: Option<StateDir>,
    operators: Commands,
}

impl App {
    /// Measures under this configuration from now on.
    pub(super) fn new(
        config: Config,
        tls: Arc<TlsContext>,
        metrics: Arc<Metrics>,
        commands: mpsc::UnboundedSender<Command>,
        events: mpsc::Sender<Event>,
        responses: mpsc::Sender<VoteResponse>,
        database_news: mpsc::Sender<DatabaseEvent>,
    ) -> Result<Self, RunError> {
        let (resolver, config) = (Resolver::from_system(), Arc::new(config));
        let evaluated = watch::Sender::new(Instant::now());
        let writing = config.databases.iter().map(|database| Arc::new(Writing::new(database.servers.len()))).collect();
        let mut app = Self {
            engine: Engine::new(Arc::clone(&metrics), Arc::clone(&config), Instant::now()),
            notifier: notifier(&config, &resolver, &tls, &metrics, &evaluated)?,
            topology: Topology::first(config, SlotPhase::random()),
            metrics,
            wake_at: None,
            resolver,
            tls,
            commands,
            events,
            responses,
            database_news,
            writing,
            evaluated,
            copying: Copying::default(),
            state: None,
            operators: Commands::default(),
        };
        let starts = app.build(&app.topology)?;
        app.apply_topology(starts);
        if let Some(folder) = app.config().state_dir.clone() {
            let (state, before) = StateDir::open(&folder, app.config().environment.clone(), now())?;
            app.state = Some(state);
            app.dispatch(Input::Remembered(&before), now());
        }
        // Before the first token: only now it is known who votes, and what was failed over.
        app.withhold_tokens(now());
        Ok(app)
    }

    /// The configuration in force.
    pub(super) fn config(&self) -> &Config {
        &self.topology.config
    }

    /// How many paths are measured.
    pub(super) const fn paths(&self) -> usize {
        self.topology.path_count()
    }

    /// The addresses of the sidecars of the peers, as they are known now.
    pub(super) fn vantage_addresses(&self) -> Vec<IpAddr> {
        let sidecars = self.config().paths().filter(|(path, _)| path.kind.carries_votes());
        sidecars.flat_map(|(_, probe)| self.resolver.known(&probe.host)).collect()
    }

    /// When [`Input::Timer`] is due, if ever.
    pub(super) const fn wake_at(&self) -> Option<Instant> {
        self.wake_at
    }

    /// Gives an input to the engine, and applies what follows.
    pub(super) fn dispatch(&mut self, input: Input<'_>, now: Now) {
        let is_tick = matches!(input, Input::Tick);
        if !is_tick {
            self.catch_up(now);
        }
        let effects = self.engine.handle(input, now);
        if is_tick || effects.incidents.is_some() || !effects.changes.is_empty() {
            self.withhold_tokens(now);
        }
        self.apply(effects);
        if is_tick {
            self.evaluated.send_replace(now.instant);
        }
    }

    /// Says to which servers of databases no token is written from now on.
    fn withhold_tokens(&self, now: Now) {
        if self.writing.is_empty() {
            return;
        }
        let withheld = self.engine.vantage().withheld(now.instant);
        for (database, writing) in self.config().databases.iter().zip(&self.writing) {
            let is_withheld =
                |server: &DatabaseServer| withheld.as_ref().is_none_or(|regions| regions.contains(&server.region));
            writing.withhold(|server| database.servers.get(server).is_none_or(is_withheld));
        }
    }

    /// Evaluates all peers if that is overdue.
    fn catch_up(&mut self, now: Now) {
        if now.instant.saturating_duration_since(*self.evaluated.borrow()) > STALL {
            self.dispatch(Input::Tick, now);
        }
    }

    fn apply(&mut self, effects: Effects) {
        self.wake_at = effects.wake_at;
        for path in effects.extra_probes {
            let _ = self.commands.send(Command::Probe(path));
        }
        // Before anything is logged: nothing is more urgent.
        if let Some(incidents) = effects.incidents {
            self.notifier.publish(incidents);
        }
        if let Some((remember, state)) = effects.remember.zip(self.state.as_ref()) {
            state.write(&remember, now());
        }
        for change in &effects.changes {
            let StateChange::Statement { command, news, ended } = change else { continue };
            let result = match news {
                StatementNews::Relayed(by) => format!("taken from the votes of {by}{}", taken_back(ended.as_deref())),
                StatementNews::Forgotten => "ended by a reload of the configuration".to_owned(),
                StatementNews::Resumed => "goes on, because the clock of this instance is ahead".to_owned(),
                StatementNews::Commanded | StatementNews::Ended => continue,
            };
            self.audit(&Audit::of(command, &result, now().unix));
        }
        effects.changes.iter().for_each(log);
    }

    /// The next incident that an Alertmanager still holds from before a restart.
    pub(super) async fn restored(&mut self) -> Option<Restored> {
        self.notifier.restored().recv().await
    }

    /// Takes an incident that an Alertmanager still holds.
    pub(super) fn restore(&mut self, Restored { alertmanager, incident }: &Restored) {
        let Incident { peer, stage, id, .. } = incident;
        info!(%peer, %stage, incident = %id, %alertmanager, "Alertmanager holds an incident from before the start of this process; it goes on unless the region is healthy or degraded");
        self.dispatch(Input::Restored(incident), now());
    }

    /// Answers the server. A query whose sender has gone is dropped.
    pub(super) fn answer(&mut self, query: Query, now: Now) {
        self.catch_up(now);
        match query {
            Query::Probes { filter, reply } => {
                self.copying.begin(self.engine.matching(|path| filter.matches(path), filter.paths), reply);
            }
            Query::Overview(reply) => {
                let _ = reply.send(self.engine.overview(self.notifier.views(), now));
            }
            Query::Explain { region, reply } => {
                let _ = reply.send(self.engine.explain(&region, now));
            }
            Query::Votes(reply) => {
                if let Some((body, keys)) = self.engine.vote_message(now) {
                    let _ = reply.send(EncodedVotes { body, keys });
                }
            }
            Query::Command { value, reply } => {
                let _ = reply.send(self.command(&value, now));
            }
            // The main loop's.
            Query::Reload(_) => {}
        }
    }

    /// Carries out the command of an operator, and says what it has done, or why it is refused.
    fn command(&mut self, value: &[u8], now: Now) -> Result<String, String> {
        let command = self.operators.accept(value, &self.topology.config, now.unix)?;
        let result = match (command.action, &command.region) {
            (Action::Release, Some(region)) => self.release(&command, region, value, now),
            (Action::Release, None) => Err("it names no region".to_owned()),
            (Action::Failover, _) => self.failover(&command, value, now),
            (Action::Arm | Action::Disarm | Action::Maintenance, _) => self.state(&command, value, now),
        };
        let (Ok(said) | Err(said)) = &result;
        let said = said.replace('\n', " ");
        let audit = Audit::of(&command, &said, now.unix);
        warn!(?audit, "command of an operator");
        self.audit(&audit);
        result
    }

    fn audit(&self, line: &Audit<'_>) {
        if let Some(state) = &self.state {
            state.audit(line);
        }
    }

    /// Takes a statement, and says what that ends and what holds then.
    fn state(&mut self, command: &SignedCommand, value: &[u8], now: Now) -> Result<String, String> {
        if let Some(reason) = self.engine.vantage().statement_refusal(command) {
            return Err(format!("{} is left as it is: {reason}", command.subject()));
        }
        let before = self.engine.vantage().stated(command, now.instant);
        // What was verified is ASCII.
        self.dispatch(Input::Stated(&String::from_utf8_lossy(value)), now);
        Ok(outcome(command, &before, &self.engine.vantage().stated(command, now.instant)))
    }

    /// Takes the order of a failover, and says what this instance makes of it.
    fn failover(&mut self, command: &SignedCommand, value: &[u8], now: Now) -> Result<String, String> {
        if let Some(reason) = self.engine.vantage().failover_refusal(command) {
            return Err(format!("{} is not failed over: {reason}", command.subject()));
        }
        let said = self.state(command, value, now)?;
        let order = command.region.as_ref().and_then(|region| self.engine.vantage().operator_order(region));
        Ok(order.map_or_else(|| said.clone(), |order| format!("{said}\n{}", format::order(order))))
    }

    fn release(&mut self, command: &SignedCommand, region: &Region, value: &[u8], now: Now) -> Result<String, String> {
        let vantage = self.engine.vantage();
        let newer = vantage.statement_refusal(command);
        if let Some(reason) = newer.or_else(|| vantage.release_refusal(region, now.instant).map(str::to_owned)) {
            return Err(format!("{region} is not released: {reason}"));
        }
        let is_failed_over = vantage.is_failed_over(region) || vantage.operator_order(region).is_some();
        // Votes relay it: what an operator has ordered ends everywhere, and no vantage brings it back.
        self.dispatch(Input::Stated(&String::from_utf8_lossy(value)), now);
        if !is_failed_over {
            return Ok(format!("{region} is not failed over here"));
        }
        self.dispatch(Input::Release(region), now);
        Ok(format!("{region} is released"))
    }

    /// Whether histories are being copied for the server.
    pub(super) fn is_copying(&self) -> bool {
        self.copying.is_busy()
    }

    /// Copies a few histories.
    pub(super) fn copy_some(&mut self) {
        self.copying.turn(|path| self.engine.history(path));
    }

    /// Puts a new configuration in force if it is valid as a whole, and changes nothing if it is not.
    pub(super) fn reload(&mut self, loaded: Result<Loaded, String>) -> Result<(), String> {
        match loaded.and_then(|loaded| self.accept(loaded)) {
            Ok(()) => {
                info!(paths = self.paths(), "configuration reloaded");
                Ok(())
            }
            Err(mistakes) => {
                self.metrics.vantage().config_rejected();
                error!("the configuration was not reloaded, the previous one stays in force:\n{mistakes}");
                Err(mistakes)
            }
        }
    }

    fn accept(&mut self, loaded: Loaded) -> Result<(), String> {
        check_restart_only(self.config(), &loaded)?;
        self.catch_up(now());
        let Loaded { config, warnings, .. } = loaded;
        warnings.iter().for_each(|warning| warn!("{warning}"));
        let topology = self.topology.next(Arc::new(config));
        let starts = self.build(&topology).map_err(|error| error.to_string())?;
        if topology.alerting_changed {
            let notifier = notifier(&topology.config, &self.resolver, &self.tls, &self.metrics, &self.evaluated);
            self.notifier = notifier.map_err(|error| error.to_string())?;
            self.notifier.publish(self.engine.incidents(now()));
        }
        self.topology = topology;
        self.apply_topology(starts);
        Ok(())
    }

    /// The commands that start what a topology adds or changes. Nothing is sent yet.
    fn build(&self, topology: &Topology) -> Result<Vec<Command>, RunError> {
        let mut starts = Vec::new();
        for PathSetup { path, probe, slot } in topology.paths() {
            if slot.change == Change::Kept {
                continue;
            }
            let responses = ResponseSender { peer: path.peer.clone(), response_tx: self.responses.clone() };
            let launcher = prober(probe, &self.resolver, &self.tls, self.events.clone(), Some(responses))
                .map_err(|source| RunError::Probe { path, source })?;
            starts.push(start(slot, probe.cadence, launcher));
        }
        for (anchor, slot) in topology.anchors.iter().filter(|(_, slot)| slot.change == Change::Added) {
            let (cadence, launcher) = anchor_prober(anchor, &self.resolver, self.events.clone());
            starts.push(start(slot, cadence, launcher));
        }
        let databases = topology.config.databases.iter().zip(&topology.databases).zip(&self.writing);
        for (place, ((database, slots), writing)) in databases.enumerate() {
            if slots.iter().all(|slot| slot.change == Change::Kept) {
                continue;
            }
            let (vantage, news) = (&topology.config.region, &self.database_news);
            let (resolver, tls) = (&self.resolver, &*self.tls);
            let context = TokenContext { database, place, writing, vantage, news, resolver, tls };
            let probers = context.probers(&self.events)?;
            starts.extend(slots.iter().zip(probers).map(|(slot, (cadence, launcher))| start(slot, cadence, launcher)));
        }
        Ok(starts)
    }

    /// Puts the topology in force.
    fn apply_topology(&mut self, starts: Vec<Command>) {
        let hosts = self.topology.paths().map(|setup| (&setup.probe.host, setup.path.peer));
        let servers = self.topology.config.databases.iter().flat_map(|database| &database.servers);
        self.resolver.used_by(hosts.chain(servers.map(|server| (&server.host, server.region.clone()))));
        let effects = self.engine.handle(Input::Topology(&self.topology), now());
        self.apply(effects);
        let stops = self.topology.removed.iter().map(|path| Command::Stop(*path));
        for command in stops.chain(starts) {
            // Never waits: the schedule may itself be waiting for this loop to take its events. It ends only with
            // the process.
            let _ = self.commands.send(command);
        }
        self.metrics.vantage().config_loaded(Duration::from_nanos(Timestamp::now().unix_nanos()));
    }
}

fn start(slot: &Slot, cadence: Cadence, launcher: Launcher) -> Command {
    let Slot { id, phase, overdue_after, .. } = slot.clone();
    Command::Start { path: id, cadence, phase, overdue_after, launcher }
}

fn notifier(
    config: &Config,
    resolver: &Resolver,
    tls: &TlsContext,
    metrics: &Metrics,
    evaluated: &watch::Sender<Instant>,
) -> Result<Notifier, RunError> {
    let labels = config.constant_labels();
    let setup = Setup {
        vantage: &config.region,
        labels: &labels,
        public_keys: &config.public_keys(),
        alertmanagers: &config.alertmanagers,
        external_url: config.external_url.as_ref(),
        runbook_url: &config.runbook_url,
        dashboard_url: &config.dashboard_url,
        clock: || now().unix,
        evaluated: &evaluated.subscribe(),
    };
    Notifier::spawn(setup, resolver, tls, metrics).map_err(RunError::Notifier)
}
