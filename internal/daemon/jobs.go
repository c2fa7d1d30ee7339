package daemon

import (
	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/campaign"
	"github.com/kefuhq/kefu/internal/config"
	"github.com/kefuhq/kefu/internal/job"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/replay"
)

// works returns the kinds of jobs that the worker carries out.
func (d *Daemon) works(conn *broker.Conn) func(*ledger.Ledger) map[job.Kind]job.Work {
	return func(book *ledger.Ledger) map[job.Kind]job.Work {
		return map[job.Kind]job.Work{
			job.KindReplay:   replay.NewWork(conn, book, d.replaySettings),
			job.KindCampaign: campaign.NewWork(conn, book, d.campaignSettings),
		}
	}
}

// setJobs has jobs go on under a configuration.
func (d *Daemon) setJobs(cfg *config.Config) {
	replays := replay.Settings{Apps: make(map[string]replay.App)}
	campaigns := make(map[string]campaign.App)
	for _, app := range cfg.Apps {
		remembered := cfg.Remembered(app)
		replays.Apps[app.AppID] = replay.App{ExpireAfter: app.ExpireAfter, Limits: app.Limits}
		if replays.Remembered == 0 || remembered < replays.Remembered {
			replays.Remembered = remembered
		}
		campaigns[app.AppID] = campaign.App{Remembered: remembered, Room: campaign.Room{
			PerSecond: app.Rate.PerSecond, Most: app.Queue.Campaign,
		}}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.replays, d.campaigns = replays, campaigns
}

func (d *Daemon) replaySettings() replay.Settings {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.replays
}

func (d *Daemon) campaignSettings(appID string) campaign.App {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.campaigns[appID]
}
