package daemon

import (
	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/config"
	"github.com/kefuhq/kefu/internal/job"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/replay"
)

// works returns the kinds of jobs that the worker carries out.
func (d *Daemon) works(conn *broker.Conn) func(*ledger.Ledger) map[job.Kind]job.Work {
	return func(book *ledger.Ledger) map[job.Kind]job.Work {
		return map[job.Kind]job.Work{
			job.KindReplay: replay.NewWork(conn, book, d.replaySettings),
		}
	}
}

// setReplays has replays go on under a configuration.
func (d *Daemon) setReplays(cfg *config.Config) {
	s := replay.Settings{Apps: make(map[string]replay.App)}
	for _, app := range cfg.Apps {
		s.Apps[app.AppID] = replay.App{ExpireAfter: app.ExpireAfter, Limits: app.Limits}
		if remembered := cfg.Remembered(app); s.Remembered == 0 || remembered < s.Remembered {
			s.Remembered = remembered
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.replays = s
}

func (d *Daemon) replaySettings() replay.Settings {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.replays
}
