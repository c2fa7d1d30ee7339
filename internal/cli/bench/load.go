package bench

import (
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/kefuhq/kefu/internal/bench"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/config"
)

// defaultLoad is that of `kefu bench` without flags. The budget is more than any machine does, so
// that it is asked and never met.
var defaultLoad = bench.Load{
	Apps: 1, Recipients: 10000, Duration: 10 * time.Second, LiveShare: 0.5,
	Workers: 1, Concurrency: 256, PerSecond: 100_000, Burst: 100, Shards: 4,
	Receipts: string(config.ReceiptsAll), Ledger: string(config.LedgerFull), LogLevel: "warn",
}

// defaultBacklog is what is drained when neither a backlog nor a rate is asked for.
const defaultBacklog = 20_000

// formerNames returns the names that flags had in earlier versions.
func formerNames() map[string]string {
	return map[string]string{"limit": "per-second", "nats": "nats-url"}
}

// addLoadFlags binds the flags that --against may change, with what l holds as their defaults.
func addLoadFlags(flags *pflag.FlagSet, l *bench.Load) {
	flags.IntVar(&l.Apps, "apps", l.Apps, "apps that intents are published to")
	flags.IntVar(&l.SlowApps, "slow-apps", l.SlowApps,
		"how many of them have an API that takes 2 s")
	flags.IntVar(&l.FailingApps, "failing-apps", l.FailingApps,
		"how many of them get nothing but errcode -1")
	flags.IntVar(&l.HeldApps, "held-apps", l.HeldApps, "how many of them are held by an operator")
	flags.IntVar(&l.IdleApps, "idle-apps", l.IdleApps, "further apps that nothing is published to")
	flags.IntVar(&l.Recipients, "recipients", l.Recipients, "recipients of each app")
	flags.IntVar(&l.Backlog, "backlog", l.Backlog,
		"bulk intents that wait at the start (default 20000 without --live-backlog and --rate)")
	flags.IntVar(&l.LiveBacklog, "live-backlog", l.LiveBacklog,
		"live intents that wait at the start")
	flags.Float64Var(&l.Rate, "rate", l.Rate,
		"intents published each second over all apps, for --duration")
	cli.DurationVar(flags, &l.Duration, "duration", l.Duration, "how long --rate is kept up")
	flags.Float64Var(&l.LiveShare, "live-share", l.LiveShare,
		"share of the live ones among those of --rate")
	cli.LatencyVar(flags, &l.Latency)
	flags.Float64Var(&l.Faults, "faults", l.Faults,
		"share of the sends that are answered errcode -1")
	flags.IntVar(&l.Workers, "workers", l.Workers, "worker processes")
	flags.IntVar(&l.Concurrency, "concurrency", l.Concurrency, "calls in flight in each of them")
	flags.IntVar(&l.AppConcurrency, "app-concurrency", l.AppConcurrency,
		"of these, for one app at most; 0: all")
	flags.Float64Var(&l.PerSecond, "per-second", l.PerSecond, "budget of each app, sends a second")
	flags.IntVar(&l.Burst, "burst", l.Burst, "burst of each app")
	flags.IntVar(&l.Shards, "live-shards", l.Shards, "live shards of each app")
	flags.BoolVar(&l.SyncAlways, "sync-always", l.SyncAlways,
		"have the broker write to the disk before it acknowledges, as deploy/ sets it")
	flags.StringVar(&l.Receipts, "receipts", l.Receipts,
		"which receipts are published: all, failures or off")
	flags.StringVar(&l.Ledger, "ledger", l.Ledger, "the guard against double sends: full or off")
	flags.StringVar(&l.LogLevel, "log-level", l.LogLevel,
		"what the workers log: debug, info, warn or error; info is a line for each intent")
	cli.DurationVar(flags, &l.Idle, "idle", l.Idle,
		"watch for so long, before the load, what it costs to wait for one")
}

func checkLoad(l *bench.Load) error {
	for _, choice := range []struct {
		flag, value string
		words       []string
	}{
		{"--receipts", l.Receipts, []string{"all", "failures", "off"}},
		{"--ledger", l.Ledger, []string{"full", "off"}},
		{"--log-level", l.LogLevel, []string{"debug", "info", "warn", "error"}},
	} {
		if !slices.Contains(choice.words, choice.value) {
			return cli.Usagef("%s %q is not one of %s", choice.flag, choice.value,
				strings.Join(choice.words, ", "))
		}
	}
	if err := l.Check(); err != nil {
		return cli.Usagef("%w", err)
	}
	return nil
}

// changeLoad applies the flags of --against.
func changeLoad(l *bench.Load, changes string) error {
	flags := pflag.NewFlagSet("against", pflag.ContinueOnError)
	addLoadFlags(flags, l)
	cli.FormerNames(flags, formerNames())
	for change := range strings.SplitSeq(changes, ",") {
		name, value, found := strings.Cut(strings.TrimLeft(strings.TrimSpace(change), "-"), "=")
		if !found || flags.Lookup(name) == nil {
			return cli.Usagef("--against %q: want flags of the load with a value, "+
				"such as workers=1 or apps=1,backlog=0", change)
		}
		if err := flags.Set(name, value); err != nil {
			return cli.Usagef("--against: %w", err)
		}
	}
	return nil
}
